//! A terminal of the program's own, as its caller asks for with `--console-socket` (config.md, Process;
//! config-linux.md, Default Devices).

use super::super::broken::{Broken, gone, to};
use super::super::case::{Case, Scene};
use super::must;
use crate::{Check, check, check_eq, sys};
use serde_json::{Value, json};
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::time::Duration;

const PROCESS: &str = "config.md, Process";
const DEVICES: &str = "config-linux.md, Default Devices";

/// What the program reports into a file, while the caller holds the other end of its terminal.
fn report(scene: &Scene) -> Check<Value> {
    let path = scene.s.dir().join("console.sock");
    let listener = UnixListener::bind(&path)?;
    let words = ["/bin/probe", "report", "--stat", "/dev/console", "--out", "/tmp/out"];
    let bundle = scene.bundle_with(&words)?;
    let rt = scene.s.runtime();
    let (path, place) = (path.to_string_lossy(), bundle.path().to_string_lossy());
    rt.call(&["create", "--console-socket", &path, "--bundle", &place, "c1"])?.success()?;
    check!(sys::readable(listener.as_fd(), Duration::from_secs(20))?, "nobody connects");
    let (stream, _) = listener.accept()?;
    let (_, master) = sys::receive(stream.as_fd())?;
    check_eq!(master.len(), 1, "descriptors");
    let pid = rt.pid("c1")?;
    rt.start("c1")?.success()?;
    rt.wait_for(pid)?;
    drop(master);
    Ok(serde_json::from_str(&fs::read_to_string(bundle.rootfs().join("tmp/out"))?)?)
}

/// The cases.
pub(super) fn cases() -> Vec<Case> {
    let case = |place, name: &str, rule: &str| {
        must(place, &format!("process/{name}"), rule)
            .with("/root/readonly", false)
            .with("/process/terminal", true)
    };
    let none = || Broken::Reads(vec![to("/process/terminal", false)]);
    let mut all: Vec<Case> = (0..3)
        .map(|fd| {
            let name = ["stdin", "stdout", "stderr"][fd];
            case(PROCESS, &format!("terminal/{name}"), &format!("with `terminal`, {name} is a terminal"))
                .noticing(none())
                .body(move |scene| {
                    check_eq!(report(scene)?["tty"][fd]["isatty"], true);
                    Ok(())
                })
        })
        .collect();
    all.push(
        case(PROCESS, "console-size", "the terminal has the size of the config")
            .with("/process/consoleSize", json!({ "height": 31, "width": 97 }))
            .noticing(Broken::Reads(vec![gone("/process/consoleSize")]))
            .body(|scene| {
                let seen = report(scene)?["tty"][0]["window"].clone();
                let text = seen.to_string();
                check!(text.contains("31") && text.contains("97"), "{text}");
                Ok(())
            }),
    );
    all.push(case(DEVICES, "terminal/console", "/dev/console is the terminal").noticing(none()).body(
        |scene| {
            let seen = report(scene)?;
            let console = &seen["stat"]["/dev/console"];
            check_eq!(console["type"], "char");
            check!(console["rdev"].as_str().is_some_and(|r| r.starts_with("136:")), "{console}");
            Ok(())
        },
    ));
    all
}
