//! `history`.

use std::io::stdout;

use channelstream_client::{GapReason, ReadHistory};

use crate::access;
use crate::args::{AccessArgs, HistoryArgs};
use crate::failure::Failure;
use crate::output::{self, Align};

pub(super) async fn history(access: &AccessArgs, args: &HistoryArgs) -> Result<(), Failure> {
    let mut request = ReadHistory::new(&args.channel);
    (request.since, request.limit) = (args.since, args.limit);
    let (client, origin) = access::client(access)?;
    let page = client.history(request).await;
    let page = page.map_err(|error| Failure::of_client(error, &origin))?;
    if args.json {
        return Ok(output::json(&mut stdout(), &page)?);
    }
    if let Some(reason) = page.gap {
        let reason = match reason {
            GapReason::Epoch => "the cursor is of another life of the server",
            GapReason::Evicted | GapReason::Window => "they are no longer stored",
        };
        output::say(&format!("messages may be missing: {reason}"));
    }
    let columns = ["ID", "TIME", "USER", "MESSAGE"].map(|title| (title, Align::Left));
    let rows = page.messages.iter().map(|message| {
        let text = message.payload.as_deref().map_or("", |raw| raw.get());
        let time = message.timestamp.in_utc().to_string();
        [message.uuid.to_string(), time, message.user.clone(), text.to_owned()]
    });
    output::table(&mut stdout(), columns, rows)?;
    let what = if page.next.is_some() { "there are more" } else { "for what comes later" };
    output::say(&format!("{what}: --since {}", page.cursor));
    Ok(())
}
