#!/bin/sh
# A whole life from a shell: two users connect, one listens, messages come, change and go, and it
# ends. CHANNELSTREAM names the command; where the server is, it finds in the environment.
set -eu

cs=${CHANNELSTREAM:-channelstream}
heard=$(mktemp)
trap 'rm -f "$heard"' EXIT

fail() {
    echo "FAILED: $1" >&2
    cat "$heard" >&2
    exit 1
}

# Waits until the listener has printed a line with $1 in it.
hears() {
    tries=0
    until grep -q -- "$1" "$heard"; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || fail "ann does not hear of $1"
        sleep 0.1
    done
}

"$cs" channel life --create --quiet --set store_history=true --set notify_presence=true \
    --set notify_state=true

ann=$("$cs" connect ann life --quiet)
bob=$("$cs" connect bob --quiet)

"$cs" listen "$ann" --for 60s --json >"$heard" &
listener=$!
hears '"opened"'

"$cs" subscribe "$bob" life --quiet
hears joined

id=$("$cs" publish life 'Hello!' --user bob)
hears 'Hello!'
"$cs" publish --to-user ann --user bob Psst --quiet
hears Psst
"$cs" edit "$id" life 'Good day.' --quiet
hears 'Good day.'
"$cs" channel life | grep -q 'Good day.' || fail 'the history has the old text'
"$cs" delete "$id" life --quiet
hears 'message:delete'

"$cs" user-state bob mood=good --public mood --quiet
hears user_state_change
"$cs" user bob | grep -q 'mood="good"' || fail 'bob has no state'
"$cs" info life | grep -q 'life  *2  *2 ' || fail 'there are not two users'

"$cs" unsubscribe "$bob" life --quiet
hears parted
"$cs" disconnect "$bob" --quiet
"$cs" disconnect "$ann" --quiet
wait "$listener" || fail 'the listener ended with a failure'
hears disconnected

echo 'that was a whole life'
