//! Executes commands in running containers for whoever connects: a line of JSON comes in, the output of the command goes
//! back, and at its end a line of JSON.
//!
//! ```text
//! cargo run -p oxrun-core --example exec_server -- /run/acme /run/acme.sock
//! echo '{"container": "web", "args": ["id"]}' | socat -t 60 - /run/acme.sock
//! uid=0(root) gid=0(root)
//! {"status":0}
//! ```

use oxrun_core::{Container, CreateOptions, Error, ErrorKind, ExitStatus, Process, Runtime, Stdio, Stream};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [root, path] = args.as_slice() else { return Err("usage: exec_server STATE_ROOT SOCKET".into()) };
    // One runtime for all: it is Send and Sync, and remembers what it knows of the host.
    let runtime = Arc::new(Runtime::new(root));
    for stream in UnixListener::bind(path)?.incoming() {
        let (runtime, stream) = (Arc::clone(&runtime), stream?);
        std::thread::spawn(move || {
            if let Err(e) = serve(&runtime, &stream) {
                let _ = writeln!(&stream, "{}", json!({ "error": e.to_string() }));
            }
        });
    }
    Ok(())
}

fn serve(runtime: &Runtime, stream: &UnixStream) -> Outcome<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let request: Value = serde_json::from_str(&line)?;
    let args = request["args"].as_array().ok_or("args is no list")?;
    let args = args.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let container = runtime.open(request["container"].as_str().ok_or("container is no string")?)?;
    let process = like_the_first(runtime, &container, args)?;
    let plan = runtime.plan_exec(&container, &process, &CreateOptions::default())?;
    let stdio = Stdio {
        stdin: Stream::Null,
        stdout: Stream::from(stream.try_clone()?),
        stderr: Stream::from(stream.try_clone()?),
    };
    let exec = container.exec(&plan, stdio)?;
    let told = match exec.start().and_then(|()| exec.wait()) {
        Ok(ExitStatus::Exited(code)) => json!({ "status": code }),
        Ok(ExitStatus::Signaled(signal)) => json!({ "signal": signal }),
        Ok(ExitStatus::Unknown) => json!({}),
        // What the caller asked for, not what went wrong here.
        Err(e) if e.kind() == ErrorKind::Exec => json!({ "status": 127, "error": e.to_string() }),
        Err(e) => return Err(e.into()),
    };
    writeln!(&*stream, "{told}")?;
    Ok(())
}

/// The user, rights and environment of the container's first process, with other arguments and no terminal.
fn like_the_first(runtime: &Runtime, container: &Container, args: Vec<String>) -> Result<Process, Error> {
    let mut process = runtime.process_of(container)?;
    process.set_args(Some(args)).set_terminal(None).set_console_size(None);
    Ok(process)
}
