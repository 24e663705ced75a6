//! A daemon that supervises containers: each is started again when it fails, and all end together at SIGTERM.
//!
//! ```text
//! cargo run -p oxrun-core --features tokio --example supervisor -- /run/acme /bundles/web /bundles/db
//! ```

use oxrun_core::{Bundle, Container, CreateOptions, Error, ExitStatus, Runtime, Stdio};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};

const SIGTERM: i32 = 15;
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let runtime = Arc::new(Runtime::new(args.next().ok_or("usage: supervisor STATE_ROOT BUNDLE...")?));
    let (stop, stopped) = watch::channel(false);
    let mut jobs: JoinSet<Outcome<()>> =
        args.map(|bundle| supervise(Arc::clone(&runtime), bundle, stopped.clone())).collect();
    let mut term = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            Some(()) = term.recv() => stop.send(true)?,
            job = jobs.join_next() => match job {
                Some(job) => job??,
                None => return Ok(()),
            },
        }
    }
}

/// One container, until it ends well, has failed three times, or all are to end.
async fn supervise(
    runtime: Arc<Runtime>,
    bundle: PathBuf,
    mut stopped: watch::Receiver<bool>,
) -> Outcome<()> {
    let id = bundle.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for _ in 0..3 {
        // Waiting is what tasks are for; whatever does something belongs on a thread that may block.
        let (rt, dir, name) = (Arc::clone(&runtime), bundle.clone(), id.clone());
        let container = spawn_blocking(move || run(&rt, &dir, &name)).await??;
        let status = tokio::select! {
            status = container.wait_async() => status?,
            _ = stopped.changed() => {
                container.kill(SIGTERM, false)?;
                container.wait_async().await?
            }
        };
        println!("{id}: {status:?}");
        spawn_blocking(move || container.delete(false)).await??;
        if status == ExitStatus::Exited(0) || *stopped.borrow() {
            break;
        }
    }
    Ok(())
}

fn run(runtime: &Runtime, bundle: &PathBuf, id: &str) -> Result<Container, Error> {
    let plan = runtime.plan(id, &Bundle::open(bundle)?, &CreateOptions::default())?;
    let container = runtime.create(&plan, Stdio::inherit())?;
    match container.start() {
        Ok(()) => Ok(container),
        Err(e) => container.delete(true).and(Err(e)),
    }
}
