//! Tests of exec.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;

#[test]
fn labels_of_the_command_line_are_the_processs() {
    let line = ["oxrun", "exec", "--process-label", "u:r:t:s0", "--apparmor", "p", "c1", "ls"];
    let args::Command::Exec(a) = args::parse(line.into_iter().map(Into::into)).unwrap().command else {
        unreachable!("the command is exec");
    };
    let before = Bundle::process_from_json(br#"{"cwd":"/","args":["sh"],"selinuxLabel":"other"}"#).unwrap();
    let after = with_options(before, &a).ok().unwrap();
    assert_eq!(after.selinux_label().as_deref(), Some("u:r:t:s0"));
    assert_eq!(after.apparmor_profile().as_deref(), Some("p"));
    assert_eq!(after.args().as_deref(), Some(&["ls".to_owned()][..]));
}
