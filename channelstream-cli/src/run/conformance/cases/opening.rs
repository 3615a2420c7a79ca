//! Cases of listeners that begin.

use crate::run::conformance::events::{cursor, message};
use crate::run::conformance::stage::Stage;
use crate::run::conformance::verdict::Played;

pub(super) fn open(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.opened()?;
    stage.deliver(&mut line, &[message(2), message(3)])?;
    stage.finish(line)
}

pub(super) fn stored_cursor(stage: &mut Stage) -> Played {
    stage.order_listening(Some(&cursor(7)))?;
    let mut line = stage.listener(&cursor(7))?;
    stage.deliver(&mut line, &[message(8).caught_up()])?;
    stage.finish(line)
}
