//! The commands: one function each, by group.

mod batch;
mod bench;
mod channels;
mod completions;
mod conformance;
mod connections;
mod doctor;
mod history;
mod lines;
mod list;
mod listen;
mod messages;
mod parse;
mod reload;
mod signatures;
mod stream;
mod top;
mod users;
mod webhooks;

use crate::args::{Args, Command};
use crate::failure::Failure;

/// Runs the command of the command line.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let access = &args.access;
    match &args.command {
        Command::Connect(command) => connections::connect(access, command).await,
        Command::Subscribe(command) => connections::subscribe(access, command).await,
        Command::Unsubscribe(command) => connections::unsubscribe(access, command).await,
        Command::Disconnect(command) => connections::disconnect(access, command).await,
        Command::DisconnectUser(command) => users::disconnect(access, command).await,
        Command::Publish(command) => match &command.file {
            Some(file) => batch::publish(access, command, file).await,
            None => messages::publish(access, command).await,
        },
        Command::Edit(command) => messages::edit(access, command).await,
        Command::Delete(command) => messages::delete(access, command).await,
        Command::Stream(command) => stream::stream(access, command).await,
        Command::Cancel(command) => stream::cancel(access, command).await,
        Command::UserState(command) => users::set_state(access, command).await,
        Command::User(command) => users::show(access, command).await,
        Command::Channel(command) => channels::channel(access, command).await,
        Command::DeleteChannel(command) => channels::delete(access, command).await,
        Command::Reload(command) => reload::reload(access, command).await,
        Command::Info(command) => channels::info(access, command).await,
        Command::History(command) => history::history(access, command).await,
        Command::List(command) => list::list(access, command).await,
        Command::Listen(command) => listen::listen(access, command).await,
        Command::Top(command) => top::watch(access, command).await,
        Command::Bench(command) => bench::measure(access, command).await,
        Command::Doctor(command) => doctor::diagnose(access, command).await,
        Command::Sign(command) => signatures::sign(access, command),
        Command::Unsign(command) => signatures::unsign(access, command),
        Command::Webhooks { command } => webhooks::webhooks(access, command).await,
        Command::Conformance(command) => conformance::judge(command).await,
        Command::Completions(command) => completions::completions(command),
        Command::Man(command) => completions::man(command),
    }
}
