//! Pages of channels and users: whole, sorted, and stable while others come and go.

use channelstream_core::protocol::{
    Bounds, ChannelList, DeleteChannels, ListChannels, ListUsers, UserList, parse,
};
use channelstream_core::state::{Command, Listing};

use crate::world::World;

fn page_of_channels(w: &World, request: &ListChannels) -> ChannelList {
    let mut listing = Listing::default();
    while !w.state.look_at_channels(request, &mut listing) {}
    listing.page(request)
}

fn page_of_users(w: &World, request: &ListUsers) -> UserList {
    let mut listing = Listing::default();
    while !w.state.look_at_users(request, &mut listing) {}
    listing.page(request)
}

fn channels(w: &World, request: &ListChannels) -> (Vec<String>, Option<String>) {
    let page = page_of_channels(w, request);
    let names = page.channels.iter().map(|entry| entry.name.to_string()).collect();
    (names, page.next.map(|next| next.to_string()))
}

fn of_channels(after: &str, prefix: &str, limit: u64) -> ListChannels {
    let after = (!after.is_empty()).then(|| after.to_owned());
    ListChannels { after, prefix: prefix.to_owned(), limit }
}

#[test]
fn pages_follow_each_other_and_the_last_one_says_so() {
    let mut w = World::new();
    w.connect("ann", &["d", "b", "é", "a", "c", "B"]);
    let mut all = Vec::new();
    let (mut after, mut pages) = (String::new(), 0);
    loop {
        let (names, next) = channels(&w, &of_channels(&after, "", 2));
        all.extend(names);
        pages += 1;
        let Some(next) = next else { break };
        assert_eq!(all.last(), Some(&next));
        after = next;
    }
    assert_eq!((all.join(" "), pages), ("B a b c d é".to_owned(), 3));
    assert_eq!(channels(&w, &of_channels("é", "", 2)), (vec![], None));
    assert_eq!(channels(&w, &of_channels("", "", 6)).1, None, "a full page may be the last");
    assert_eq!(channels(&w, &of_channels("bb", "", 1)).0, ["c"], "a name that is no channel");
}

#[test]
fn what_comes_and_goes_moves_no_other_entry() {
    let mut w = World::new();
    w.connect("ann", &["b", "d", "f", "h"]);
    let (first, next) = channels(&w, &of_channels("", "", 2));
    assert_eq!(first, ["b", "d"]);
    // The place of the cursor goes, something comes before it and behind it.
    w.connect("ben", &["a", "e"]);
    w.apply(Command::DeleteChannels(DeleteChannels::new(["d"]))).unwrap();
    assert_eq!(channels(&w, &of_channels(&next.unwrap(), "", 9)).0, ["e", "f", "h"]);
}

#[test]
fn a_page_of_many_takes_steps_and_has_what_was_there_all_the_time() {
    let mut w = World::new();
    let names: Vec<String> = (0..25_000).map(|number| format!("c{number:05}")).collect();
    for some in names.chunks(100) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        w.connect(&format!("of {}", some[0]), &some);
    }
    let request = of_channels("c00100", "c", 1000);
    let (mut listing, mut steps) = (Listing::default(), 1);
    while !w.state.look_at_channels(&request, &mut listing) {
        // What has been looked at goes, and another one may take its place.
        let gone = [names[200 + steps].as_str()];
        w.apply(Command::DeleteChannels(DeleteChannels::new(gone))).unwrap();
        w.connect(&format!("late/{steps}"), &[&format!("d{steps}")]);
        steps += 1;
    }
    assert_eq!(steps, 3);
    let page = listing.page(&request);
    let listed: Vec<&str> = page.channels.iter().map(|entry| &*entry.name).collect();
    let expected: Vec<&str> = names[101..1101].iter().map(String::as_str).collect();
    assert_eq!(listed, expected, "two of them were there when they were looked at");
    assert_eq!(page.next.as_deref(), Some("c01100"));
}

/// `/channel_config` takes any name.
#[test]
fn an_empty_name_is_the_first_one_and_a_page_may_end_with_it() {
    let mut w = World::new();
    w.connect("ann", &["", "b"]);
    let (names, next) = channels(&w, &of_channels("", "", 1));
    assert_eq!((names, next), (vec![String::new()], Some(String::new())));
    let behind = ListChannels { after: Some(String::new()), ..ListChannels::default() };
    assert_eq!(channels(&w, &behind), (vec!["b".to_owned()], None));
}

#[test]
fn a_prefix_is_taken_as_it_stands() {
    let mut w = World::new();
    w.connect("ann", &["room:1", "room:2", "Room:3", "room", "rooms", "lobby"]);
    assert_eq!(channels(&w, &of_channels("", "room:", 9)).0, ["room:1", "room:2"]);
    assert_eq!(channels(&w, &of_channels("room:1", "room:", 9)).0, ["room:2"]);
    assert_eq!(channels(&w, &of_channels("", "*", 9)).0, [""; 0]);
}

#[test]
fn entries_say_who_is_there() {
    let mut w = World::new();
    w.connect("ann/1", &["room"]);
    w.connect("ann/2", &["room"]);
    w.connect("ben", &[]);
    w.disconnect("ben");
    w.advance(crate::world::secs(1));
    let page = page_of_channels(&w, &ListChannels::default());
    assert_eq!((page.channels[0].users, page.channels[0].connections), (1, 2));
    let users = |connected| {
        let page = page_of_users(&w, &ListUsers { connected, ..ListUsers::default() });
        page.users.iter().map(|one| (one.user.to_string(), one.connections)).collect::<Vec<_>>()
    };
    assert_eq!(users(false), [("ann".to_owned(), 2), ("ben".to_owned(), 0)]);
    assert_eq!(users(true), [("ann".to_owned(), 2)]);
}

#[test]
fn bodies_are_checked() {
    let errors = |json: &str| {
        let body = parse(json.as_bytes(), Bounds::default()).unwrap();
        let read = ListUsers::read(&body);
        read.err().map(|rejected| serde_json::to_string(&rejected.errors).unwrap())
    };
    assert_eq!(errors("{}"), None);
    assert_eq!(errors(r#"{"after": "", "prefix": "", "limit": 1000, "connected": true}"#), None);
    for (bad, field) in [
        (r#"{"limit": 0}"#, "limit"),
        (r#"{"limit": 1001}"#, "limit"),
        (r#"{"limit": "all"}"#, "limit"),
        (r#"{"after": 7}"#, "after"),
        (r#"{"prefix": null}"#, "prefix"),
        (r#"{"connected": "perhaps"}"#, "connected"),
        ("[]", "_schema"),
    ] {
        assert!(errors(bad).unwrap_or_default().contains(field), "{bad}");
    }
    let long = format!(r#"{{"prefix": "{}"}}"#, "x".repeat(513));
    assert!(errors(&long).unwrap_or_default().contains("prefix"));
}
