//! Calls whose failure the runtime survives with the same result, and why that is right.

/// Task, call, errors (empty: any), reason.
const ROWS: &[(&str, &str, &[&str], &str)] = &[];

/// Answers that no kernel gives, and that std ends the process for: `close` of an open descriptor may be interrupted
/// and no more (it then is closed), `getrandom` with GRND_INSECURE exists or does not.
pub(super) fn is_impossible(call: &str, errno: &str) -> bool {
    match call {
        "close" => !matches!(errno, "EINTR" | "SIGKILL"),
        "getrandom" => matches!(errno, "EAGAIN" | "ENOMEM"),
        _ => false,
    }
}

/// Why the failure of a call may be ignored.
pub(super) fn why(task: &str, call: &str, errno: &str) -> Option<&'static str> {
    ROWS.iter()
        .find(|(t, c, errnos, _)| *t == task && *c == call && (errnos.is_empty() || errnos.contains(&errno)))
        .map(|row| row.3)
}
