//! Every form that engines, their helpers and scripts are known to send, and what it means.

use std::path::PathBuf;

use super::*;

pub(super) fn path(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(text))
}

pub(super) fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn id(id: &str) -> Id {
    Id { id: id.to_owned() }
}

fn create_c() -> Create {
    Create { id: "c".to_owned(), ..Create::default() }
}

fn exec_c() -> Exec {
    Exec { id: "c".to_owned(), ..Exec::default() }
}

fn kill_c(signal: i32, all: bool) -> Command {
    Command::Kill(Kill { id: "c".to_owned(), signal, all })
}

pub(super) fn check(cases: impl IntoIterator<Item = (&'static str, Command)>) {
    for (line, expected) in cases {
        assert_eq!(command(line), expected, "{line}");
    }
}

#[test]
fn create_is_understood_as_the_engines_send_it() {
    let plain = Create { bundle: path("B"), pid_file: path("P"), ..create_c() };
    let console = Create { console_socket: path("S"), ..plain.clone() };
    check([
        ("create c", Command::Create(create_c())),
        ("create --bundle B --pid-file P c", Command::Create(plain.clone())),
        ("create --bundle B --pid-file P --console-socket S c", Command::Create(console.clone())),
        ("create --bundle=B --pid-file P --console-socket=S c", Command::Create(console)),
        ("create c --bundle B --pid-file P", Command::Create(plain.clone())),
        ("create -b B c --pid-file=P", Command::Create(plain.clone())),
        ("create -b=B --pid-file=P -- c", Command::Create(plain.clone())),
        ("create --bundle X --bundle B --pid-file P c", Command::Create(plain.clone())),
        ("create --detach --no-subreaper -bundle B -pid-file=P c", Command::Create(plain.clone())),
        (
            "create --bundle B --pid-file P --pidfd-socket Q --no-pivot --no-new-keyring \
             --preserve-fds 2 c",
            Command::Create(Create {
                pidfd_socket: path("Q"),
                no_pivot: true,
                no_new_keyring: true,
                preserve_fds: 2,
                ..plain
            }),
        ),
    ]);
}

#[test]
fn run_is_understood_as_builders_and_people_send_it() {
    let create = Create { bundle: path("B"), ..create_c() };
    check([
        (
            "run --bundle B --keep c",
            Command::Run(Run { create: create.clone(), keep: true, ..Run::default() }),
        ),
        ("run --bundle B c", Command::Run(Run { create: create.clone(), ..Run::default() })),
        ("run -d -b B c", Command::Run(Run { create: create.clone(), detach: true, ..Run::default() })),
        (
            "run c -b B --no-subreaper --detach=true --keep=false",
            Command::Run(Run { create, detach: true, no_subreaper: true, ..Run::default() }),
        ),
    ]);
}

#[test]
fn commands_on_an_id_alone_are_understood() {
    check([
        ("start c", Command::Start(id("c"))),
        ("state c", Command::State(id("c"))),
        ("state -- -c", Command::State(id("-c"))),
        ("pause c", Command::Pause(id("c"))),
        ("resume c", Command::Resume(id("c"))),
        ("features", Command::Features),
    ]);
}

#[test]
fn kill_takes_a_number_or_a_name_and_defaults_to_term() {
    check([
        ("kill c", kill_c(15, false)),
        ("kill c 15", kill_c(15, false)),
        ("kill c TERM", kill_c(15, false)),
        ("kill c SIGTERM", kill_c(15, false)),
        ("kill c sigkill", kill_c(9, false)),
        ("kill c KILL", kill_c(9, false)),
        ("kill c 0", kill_c(0, false)),
        ("kill c RTMIN+3", kill_c(37, false)),
        ("kill --all c 9", kill_c(9, true)),
        ("kill -a c 9", kill_c(9, true)),
        ("kill c 9 --all", kill_c(9, true)),
        ("kill c -a KILL", kill_c(9, true)),
    ]);
    let empty = parse_words(&["kill", "c", ""]).unwrap();
    assert_eq!(empty.command, kill_c(15, false));
}

#[test]
fn delete_takes_force_on_either_side_of_the_id() {
    let delete = |force| Command::Delete(Delete { id: "c".to_owned(), force });
    check([
        ("delete c", delete(false)),
        ("delete --force c", delete(true)),
        ("delete -f c", delete(true)),
        ("delete -force c", delete(true)),
        ("delete c --force", delete(true)),
        ("delete --force --force=false c", delete(false)),
    ]);
}

#[test]
fn exec_with_a_process_file_is_understood_as_the_engines_send_it() {
    let base = Exec { process: path("F"), ..exec_c() };
    let detached = Exec { detach: true, pid_file: path("P"), ..base.clone() };
    let exec = |exec: &Exec| Command::Exec(Box::new(exec.clone()));
    check([
        ("exec --process F c", exec(&base)),
        ("exec --process F --detach --pid-file P c", exec(&detached)),
        (
            "exec --process F --console-socket S --detach --pid-file P c",
            exec(&Exec { console_socket: path("S"), ..detached.clone() }),
        ),
        (
            "exec --pid-file P --process F --detach --tty --console-socket S --preserve-fds 1 c",
            exec(&Exec { tty: true, console_socket: path("S"), preserve_fds: 1, ..detached.clone() }),
        ),
        (
            "exec -p /dev/fd/5 --pidfd-socket Q c",
            exec(&Exec { process: path("/dev/fd/5"), pidfd_socket: path("Q"), ..exec_c() }),
        ),
    ]);
}

#[test]
fn exec_leaves_everything_behind_the_id_to_the_program() {
    let exec = |line: &str, exec: Exec| Command::Exec(Box::new(Exec { command: words(line), ..exec }));
    let terminal =
        Exec { detach: true, tty: true, console_socket: path("S"), pid_file: path("P"), ..exec_c() };
    check([
        ("exec -d --console-socket=S --tty --pid-file=P c ls -l", exec("ls -l", terminal)),
        ("exec c ls --help -d --pid-file=P", exec("ls --help -d --pid-file=P", exec_c())),
        ("exec c -- ls -l", exec("ls -l", exec_c())),
        ("exec c ls -- -l", exec("ls -- -l", exec_c())),
        ("exec -- c -x", exec("-x", exec_c())),
        ("exec -t=false c sh -c true", exec("sh -c true", exec_c())),
        ("exec c --process", exec("--process", exec_c())),
    ]);
}

#[test]
fn exec_reads_every_option_about_the_process() {
    let words = [
        "exec",
        "--cwd",
        "/tmp",
        "-e",
        "A=1",
        "--env",
        "B=x y\nz",
        "--env=C==",
        "-u",
        "1000:5",
        "-g",
        "7",
        "--additional-gids=8",
        "-c",
        "CAP_KILL",
        "--cap",
        "CAP_CHOWN",
        "--process-label",
        "l",
        "--apparmor",
        "p",
        "--no-new-privs",
        "--cgroup",
        "cpu,pids:a",
        "--cgroup=memory:b",
        "--ignore-paused",
        "c",
        "id",
    ];
    let expected = Exec {
        command: vec!["id".to_owned()],
        cwd: text("/tmp"),
        env: ["A=1", "B=x y\nz", "C=="].map(str::to_owned).to_vec(),
        user: Some(User { uid: 1000, gid: Some(5) }),
        additional_gids: vec![7, 8],
        caps: ["CAP_KILL", "CAP_CHOWN"].map(str::to_owned).to_vec(),
        process_label: text("l"),
        apparmor: text("p"),
        no_new_privs: true,
        cgroups: vec![
            SubCgroup { controllers: vec!["cpu".to_owned(), "pids".to_owned()], path: "a".to_owned() },
            SubCgroup { controllers: vec!["memory".to_owned()], path: "b".to_owned() },
        ],
        ignore_paused: true,
        ..exec_c()
    };
    let invocation = parse_words(&words).unwrap();
    assert_eq!(invocation.command, Command::Exec(Box::new(expected)));
}

#[test]
fn ps_leaves_everything_behind_the_id_to_the_ps_program() {
    let ps = |format, args: &str| Command::Ps(Ps { id: "c".to_owned(), format, ps_args: words(args) });
    check([
        ("ps c", ps(ListFormat::Table, "")),
        ("ps --format json c", ps(ListFormat::Json, "")),
        ("ps -f=json c", ps(ListFormat::Json, "")),
        ("ps --format table c -o pid,comm", ps(ListFormat::Table, "-o pid,comm")),
        ("ps c -f json", ps(ListFormat::Table, "-f json")),
        ("ps c aux", ps(ListFormat::Table, "aux")),
    ]);
}

#[test]
fn list_takes_its_format_and_quiet() {
    let list = |format, quiet| Command::List(List { format, quiet });
    check([
        ("list", list(ListFormat::Table, false)),
        ("list --format=json", list(ListFormat::Json, false)),
        ("list -f table", list(ListFormat::Table, false)),
        ("list -f json -q", list(ListFormat::Json, true)),
        ("list --quiet", list(ListFormat::Table, true)),
    ]);
}

#[test]
fn check_takes_its_bundle_either_way() {
    let check =
        |bundle: Option<&str>, json| Command::Check(Check { bundle: bundle.map(PathBuf::from), json });
    for (line, expected) in [
        ("check", check(None, false)),
        ("check B", check(Some("B"), false)),
        ("check -b B --format json", check(Some("B"), true)),
        ("check --format=text B", check(Some("B"), false)),
    ] {
        assert_eq!(command(line), expected, "{line}");
    }
}

#[test]
fn spec_explain_and_try_are_understood() {
    check([
        ("spec", Command::Spec(Spec { bundle: None, rootless: false })),
        ("spec -b B --rootless", Command::Spec(Spec { bundle: path("B"), rootless: true })),
        ("explain", Command::Explain(Explain { id: None, bundle: None, json: false })),
        (
            "explain --bundle B --json web",
            Command::Explain(Explain { id: text("web"), bundle: path("B"), json: true }),
        ),
        ("try", Command::Try(Try { command: words("sh") })),
        ("try ls -l --help", Command::Try(Try { command: words("ls -l --help") })),
        ("try -- ls -- -l", Command::Try(Try { command: words("ls -- -l") })),
    ]);
}

#[test]
fn an_empty_value_counts_as_not_given() {
    let line = "create --bundle= --pid-file= --console-socket= --preserve-fds= c";
    assert_eq!(command(line), Command::Create(create_c()));
    assert_eq!(command("update --memory= --cpu-share= c"), command("update c"));
    assert_eq!(parse_line("--log= --root= state c").unwrap().global, Global::default());
}

#[test]
fn a_path_keeps_bytes_that_are_not_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let odd = OsString::from_vec(b"/b\xff=x".to_vec());
    for option in ["--bundle=", "-b="] {
        let mut joined = OsString::from(option);
        joined.push(&odd);
        let argv = ["oxrun".into(), "create".into(), joined, "c".into()];
        let Command::Create(create) = parse_with(argv, &all_on()).unwrap().command else {
            panic!("{option}")
        };
        assert_eq!(create.bundle, Some(PathBuf::from(&odd)));
    }
}
