//! Properties of growing messages: a page that applies appends and suffixes has what the history has.

use channelstream_core::protocol::{AppendRequest, Edit, Event, Pieces};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy};
use proptest::sample::select;
use proptest::{prop_assert, prop_assert_eq, proptest};
use serde_json::Value;

use crate::growing::{append, growing, id, piece, room};
use crate::world::{World, json};

/// Applies an append as a page does.
pub(crate) fn apply_as_page(payload: &mut Value, append: &Pieces) {
    for (key, piece) in append {
        let pointer = if key.starts_with('/') { key.clone() } else { format!("/{key}") };
        let piece: Value = serde_json::from_str(piece.json()).unwrap();
        if payload.pointer(&pointer).is_none() {
            let (parent, last) = pointer.rsplit_once('/').unwrap();
            let empty =
                if piece.is_string() { Value::from("") } else { Value::from(Vec::<u8>::new()) };
            match payload.pointer_mut(parent).unwrap() {
                Value::Object(fields) => drop(fields.insert(last.to_owned(), empty)),
                Value::Array(items) => items.push(empty),
                other => panic!("{other} has no place for {last}"),
            }
        }
        match (payload.pointer_mut(&pointer).unwrap(), piece) {
            (Value::String(text), Value::String(more)) => text.push_str(&more),
            (Value::Array(items), Value::Array(mut more)) => items.append(&mut more),
            (there, piece) => panic!("{piece} behind {there}"),
        }
    }
}

/// Appends, of which some cannot be carried out.
fn random_append() -> impl Strategy<Value = AppendRequest> {
    let one = (
        select(&["text", "/text", "l", "/l/0", "/l/1/t", "/l/2", "/new", "/no/place", "n"][..]),
        select(&[r#""x""#, r#""\"é\n""#, r#""""#, "[]", r#"[{"t": "a"}]"#, r#"["b", 1]"#][..]),
    );
    vec(one, 1..4).prop_map(|pieces| {
        let mut request = append(1);
        for (key, json) in pieces {
            request.append.insert(key.to_owned(), piece(json));
        }
        request
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_that_append_have_what_the_history_has(requests in vec(random_append(), 1..30)) {
        let mut w = growing();
        w.edit(Edit::new(id(1), room()).payload(serde_json::json!({"text": "a", "n": 1})).unwrap());
        w.take("ann");
        let whole = |w: &World| -> Value {
            let history = w.channel("room").history;
            serde_json::from_str(history[0].payload.as_ref().unwrap().get()).unwrap()
        };
        let mut page = whole(&w);
        let mut earlier = vec![(w.state.sequence(), page.clone())];
        for request in requests {
            let before = json(&whole(&w));
            let taken = w.append(request);
            let got = w.take("ann");
            if !taken.taken {
                prop_assert!(got.is_empty());
                prop_assert_eq!(json(&whole(&w)), before);
                continue;
            }
            let Event::Append(append) = &got[0].event else { panic!("not an append") };
            apply_as_page(&mut page, &append.append);
            prop_assert_eq!(&page, &whole(&w));
            let history = w.channel("room").history;
            prop_assert_eq!(taken.size, Some(history[0].payload.as_ref().unwrap().get().len()));
            for (sequence, then) in &earlier {
                let suffix = w.state.appended_since(id(1), *sequence).unwrap();
                let mut late = then.clone();
                apply_as_page(&mut late, &suffix.append);
                prop_assert_eq!(&late, &page, "since {}: {}", sequence, json(&suffix.append));
            }
            earlier.push((w.state.sequence(), page.clone()));
        }
    }
}
