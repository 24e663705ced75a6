//! `oxrun`: parse arguments, call one library function, print.
//!
//! What must hold: a command without a fault prints nothing on stderr; an error is one line there, and one
//! record in the log; nothing but what was asked for goes to stdout, which may be the container's.
//!
//! A library, so that [`docs`] is made of the table of commands and flags that the program parses with, and is not
//! in the program. Its only user beside that is `main.rs`.

#![deny(clippy::disallowed_methods)]

mod args;
mod cmd;
mod console;
pub mod docs;
mod foreground;
pub mod heap;
mod log;
mod notify;
mod spec_template;

use args::{Command, Global, Invocation};
use cmd::Failure;
use log::Log;
use std::ffi::OsString;

/// Carries out the command line; the exit code.
pub fn run(args: impl Iterator<Item = OsString>) -> u8 {
    let invocation = match args::parse(args) {
        Ok(invocation) => invocation,
        Err(rejection) => {
            // With one that cannot be opened the user still learns what is wrong with the command line.
            let log = open_log(&rejection.global).unwrap_or_else(|(log, _)| log);
            if let Some(screen) = &rejection.screen {
                eprintln!("{screen}");
            }
            log.error(&rejection.message, &[]);
            return rejection.exit_code;
        }
    };
    let log = match open_log(&invocation.global) {
        Ok(log) => log,
        // As with runc: what is only printed needs no log, and all else fails without it.
        Err((log, _)) if matches!(invocation.command, Command::Help(_) | Command::Version) => log,
        Err((log, why)) => {
            log.error(&why, &[]);
            return 1;
        }
    };
    for warning in &invocation.warnings {
        log.warning(warning);
    }
    match carry_out(&invocation, &log) {
        Ok(code) => code,
        Err(failure) => {
            let details: Vec<(&str, &str)> =
                failure.details.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            log.error(&failure.message, &details);
            failure.code
        }
    }
}

/// The log; one on standard error with the fault if there cannot be this one.
fn open_log(global: &Global) -> Result<Log, (Log, String)> {
    Log::open(global.log.as_deref(), global.log_format, global.log_level)
        .map_err(|why| (Log::stderr(global.log_format, global.log_level), why))
}

/// No command is inlined here: a frame that has room for each of them is 16 KiB, and entering it touches them all.
fn carry_out(invocation: &Invocation, log: &Log) -> Result<u8, Failure> {
    let euid = nix::unistd::geteuid().as_raw();
    let ctx = cmd::Ctx { program: &invocation.program, global: &invocation.global, log, euid };
    match &invocation.command {
        Command::Help(text) => cmd::print(text),
        Command::Version => {
            cmd::print(&args::help::version(&invocation.program, option_env!("OXRUN_COMMIT")))
        }
        Command::Create(create) => cmd::create::create(&ctx, create),
        Command::Run(run) => cmd::create::run(&ctx, run),
        Command::Start(id) => cmd::lifecycle::start(&ctx, &id.id),
        Command::State(id) => cmd::query::state(&ctx, &id.id),
        Command::Kill(kill) => cmd::lifecycle::kill(&ctx, kill),
        Command::Delete(delete) => cmd::lifecycle::delete(&ctx, delete),
        Command::Exec(exec) => cmd::exec::exec(&ctx, exec),
        Command::List(list) => cmd::query::list(&ctx, list),
        Command::Ps(ps) => cmd::ps::ps(&ctx, ps),
        Command::Pause(id) => cmd::lifecycle::pause(&ctx, &id.id),
        Command::Resume(id) => cmd::lifecycle::resume(&ctx, &id.id),
        Command::Update(update) => cmd::update::update(&ctx, update),
        Command::Spec(spec) => cmd::bundle::spec(&ctx, spec),
        Command::Features => cmd::features::features(),
        Command::Explain(explain) => cmd::bundle::explain(&ctx, explain),
        Command::Check(check) => cmd::bundle::check(&ctx, check),
        Command::Try(it) => cmd::attempt::attempt(&ctx, it),
        Command::Events(events) => cmd::events::events(&ctx, events),
        // Not in the table of commands: parsing refuses them.
        Command::Checkpoint(_) | Command::Restore(_) => Err(Failure::plain("this command is not available")),
    }
}
