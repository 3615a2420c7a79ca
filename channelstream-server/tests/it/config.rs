//! The program as an operator meets it: help, exit codes, mistakes, sources of settings, signals.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use channelstream_server::config::table;

/// The program, with nothing of ours in its environment.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_channelstream-server"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CHANNELSTREAM_") {
            command.env_remove(name);
        }
    }
    command
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the program ends by itself")
}

/// Runs to the end and expects failure with one reason a line on standard error, nothing else.
fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let err = err(&output);
    assert_eq!((code(&output), out(&output).as_str()), (1, ""), "{err}");
    assert!(
        !err.is_empty() && err.lines().all(|line| line.starts_with("channelstream-server: ")),
        "{err}"
    );
    err
}

/// `config show` as lines.
fn shown(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap();
    assert_eq!(code(&output), 0, "{}", err(&output));
    out(&output).lines().map(String::from).collect()
}

/// A running server. Killed when dropped.
struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    /// The log up to and with the start line.
    started: Vec<String>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut running = Self { child, log, started: Vec::new() };
        while !running.started.last().is_some_and(|line| line.contains("listening on http://")) {
            let mut line = String::new();
            let read = running.log.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "ended at once: {:?}", running.started);
            running.started.push(line);
        }
        running
    }

    /// Sends a signal, waits for the end and gives the exit code and the rest of the log.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let kill =
            Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_is_the_reference_for_every_setting() {
    let output = program(&["--help"]).output().unwrap();
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
    let help = out(&output);
    for setting in table::settings() {
        assert!(
            help.contains(&format!("{} ", setting.flag()))
                || help.contains(&format!("{}[", setting.flag()))
        );
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/help.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &help).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap();
    assert!(
        help == expected,
        "the help has changed; if that is right, run this test with UPDATE_GOLDEN=1 and look at the \
         difference in {}:\n{help}",
        golden.display()
    );
}

#[test]
fn the_version_has_two_short_flags() {
    for flag in ["-v", "-V", "--version"] {
        let output = program(&[flag]).output().unwrap();
        let version = format!("channelstream-server {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!((code(&output), out(&output)), (0, version), "{flag}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &["--prot", "1"][..],
        &["--port"],
        &["--port", "1", "--port", "2"],
        &["run"],
        &["config"],
        &["config", "chekc"],
        &["config", "check", "a", "--ini", "b"],
        &["--port", "1", "config", "show"],
    ] {
        let output = program(arguments).output().unwrap();
        assert_eq!((code(&output), out(&output).as_str()), (2, ""), "{arguments:?}");
        assert!(!err(&output).is_empty(), "{arguments:?}");
    }
    let unknown = program(&["--prot", "1"]).output().unwrap();
    assert!(err(&unknown).contains("--port"), "{}", err(&unknown));
}

#[test]
fn all_mistakes_are_told_at_once_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("push.ini");
    fs::write(
        &path,
        "[channelstream]\nport = eighty\nsecret = hid%den\nhost = a b\nnonsense\nprot = 1\n",
    )
    .unwrap();
    let path = path.to_str().unwrap();
    for arguments in [&["--ini", path][..], &["config", "check", path]] {
        let output = program(arguments).arg("--log-format=xml").output().unwrap();
        let err = err(&output);
        assert_eq!((code(&output), out(&output).as_str()), (1, ""), "{err}");
        for part in [
            format!("channelstream-server: {path}:2: port = \"eighty\": not a port, 0 to 65535\n"),
            format!("channelstream-server: {path}:3: secret: secret has a percent sign"),
            format!("channelstream-server: {path}:4: host = \"a b\": "),
            format!("channelstream-server: {path}:5: neither a [section]"),
            String::from("channelstream-server: --log-format: log_format = \"xml\": "),
        ] {
            assert!(err.contains(&part), "{part} in {err}");
        }
        assert!(!err.contains("hid") && !err.contains("den"), "{err}");
        assert_eq!(err.contains("prot, ignored; did you mean port?"), arguments[0] == "config");
    }
}

#[test]
fn files_that_are_no_use_are_refused() {
    let err = fails(&mut program(&["-i", "/nowhere/push.ini"]));
    assert!(
        err.starts_with("channelstream-server: /nowhere/push.ini: cannot be read (--ini): "),
        "{err}"
    );
    let err = fails(program(&[]).env("CHANNELSTREAM_INI", "/nowhere/push.ini"));
    assert!(err.contains("/nowhere/push.ini: cannot be read (CHANNELSTREAM_INI): "), "{err}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.ini");
    fs::write(&path, "[app:portal]\ndata.dir = %(here)s/data\ncometd.secret = s\n").unwrap();
    let err = fails(program(&["-i"]).arg(&path));
    assert!(
        err.ends_with("app.ini: no [channelstream] section; sections found: [app:portal]\n"),
        "{err}"
    );
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = program(&["--port", &address.port().to_string()]).output().unwrap();
    let err = err(&output);
    assert_eq!(code(&output), 1, "{err}");
    let complaint: Vec<_> =
        err.lines().filter(|line| line.starts_with("channelstream-server: ")).collect();
    assert_eq!(complaint.len(), 1, "{err}");
    assert!(complaint[0].contains(&address.to_string()), "{err}");
}

#[test]
fn flags_override_the_file_which_shuts_out_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("push.ini");
    fs::write(&path, "[channelstream]\nport = 9002\nadmin_user = filed\n").unwrap();
    let path = path.to_str().unwrap();
    let with = |arguments: &[&str], line: &str| {
        let mut command = program(&["config", "show"]);
        command
            .args(arguments)
            .env("CHANNELSTREAM_PORT", "9003")
            .env("CHANNELSTREAM_SECRET", "hidden");
        let lines = shown(&mut command);
        assert!(lines.iter().any(|shown| shown == line), "{line}: {lines:#?}");
        assert!(!lines.concat().contains("hidden"));
        err(&command.output().unwrap())
    };
    with(&[], "port = 9003  (CHANNELSTREAM_PORT)");
    with(&[], "secret = ***  (CHANNELSTREAM_SECRET)");
    with(&["--port", "9001"], "port = 9001  (--port)");
    with(&["-i", path], "secret = ***");
    with(&["-i", path], &format!("admin_user = filed  ({path}:3)"));
    let err = with(&["-i", path], &format!("port = 9002  ({path}:2)"));
    assert!(err.contains("CHANNELSTREAM_PORT, CHANNELSTREAM_SECRET"), "{err}");
    with(&["-i", path, "--port=9001"], "port = 9001  (--port)");
}

#[test]
fn the_environment_is_checked_like_everything() {
    let err = fails(program(&[]).env("CHANNELSTREAM_SECRET", ""));
    assert!(err.contains("CHANNELSTREAM_SECRET: secret = ***: empty"), "{err}");
    let err = fails(program(&[]).env("CHANNELSTREAM_PORT", "tcp://10.0.0.1:80"));
    assert!(err.contains("CHANNELSTREAM_PORT: port = "), "{err}");
    let mut command = program(&["config", "check"]);
    command.env("CHANNELSTREAM_PROT", "9").env("CHANNELSTREAM_ADMIN_SECRET", "x\n");
    let output = command.output().unwrap();
    let err = self::err(&output);
    assert_eq!((code(&output), out(&output).as_str()), (0, "ok\n"), "{err}");
    assert!(
        err.contains("CHANNELSTREAM_PROT: unknown, ignored; did you mean CHANNELSTREAM_PORT?"),
        "{err}"
    );
    assert!(err.contains("CHANNELSTREAM_ADMIN_SECRET: admin_secret has white space"), "{err}");
}

#[test]
fn default_secrets_stay_on_the_machine_unless_told() {
    let err = fails(program(&[]).env("CHANNELSTREAM_HOST", "0.0.0.0"));
    for part in [
        "CHANNELSTREAM_HOST: host = \"0.0.0.0\"",
        "CHANNELSTREAM_SECRET=",
        "CHANNELSTREAM_ADMIN_SECRET=",
        "--secret-file FILE",
        "admin_secret = ...",
        "--allow-default-secrets",
    ] {
        assert!(err.contains(part), "{part} in {err}");
    }
    for flag in ["--allow-default-secrets", "--allow-default-secrets=yes"] {
        let output = program(&["config", "check", "--host", "0.0.0.0", flag]).output().unwrap();
        assert_eq!(code(&output), 0, "{}", self::err(&output));
    }
}

#[test]
fn origins_that_let_in_nobody_or_too_many_are_warned_of() {
    let mut command = program(&["config", "check"]);
    let origins = "*, https://a.example/, b.example, https://good.example";
    let output = command.env("CHANNELSTREAM_ALLOW_CORS", origins).output().unwrap();
    let err = self::err(&output);
    assert_eq!(code(&output), 0, "{err}");
    for part in [
        "CHANNELSTREAM_ALLOW_CORS: allow_cors has *, ",
        "leave allow_cors empty to let all pages in",
        "allow_cors has https://a.example/, ",
        "write https://a.example\n",
        "allow_cors has b.example, which also lets in pages of every other origin",
        "write https://b.example\n",
    ] {
        assert!(err.contains(part), "{part} in {err}");
    }
    assert!(!err.contains("good.example"), "{err}");
}

#[test]
fn a_written_file_reads_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("push.ini");
    let mut write = program(&["config", "default", "-o"]);
    write.arg(&path);
    write
        .env("CHANNELSTREAM_SECRET", "50%off\nolder")
        .env("CHANNELSTREAM_ALLOW_CORS", "a.example,b.example");
    let output = write.output().unwrap();
    assert_eq!((code(&output), out(&output).as_str()), (0, ""), "{}", err(&output));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&path).unwrap().contains("secret = 50%%off\n    older\n"));

    let lines = shown(program(&["config", "show", "--ini"]).arg(&path));
    assert!(
        lines.iter().any(|line| line.starts_with("allow_cors = a.example, b.example  (")),
        "{lines:?}"
    );
    let again = program(&["config", "check"]).arg(&path).output().unwrap();
    assert_eq!(out(&again), "ok\n", "{}", err(&again));

    // Over the same file, this time from JSON, which the environment does not touch.
    write.args(["--json", r#"{"secret": "other%", "port": 9009}"#]);
    let told = fails(&mut write);
    assert!(told.ends_with("push.ini cannot be written: it exists already; --force replaces it\n"));
    assert!(fs::read_to_string(&path).unwrap().contains("50%%off"), "it is as it was");
    let output = write.arg("--force").output().unwrap();
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\nsecret = other%%\n") && text.contains("\nport = 9009\n"), "{text}");
    assert!(text.contains("\nallow_cors =\n"), "{text}");

    let err = fails(&mut program(&["config", "default", "-j", "{\"port\": \"x\"}"]));
    assert!(err.contains("JSON: port = \"x\": not a port"), "{err}");
}

#[test]
fn only_ordinary_files_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |name: &str| folder.path().join(name);
    let target = in_folder("target.ini");
    fs::write(&target, "precious").unwrap();
    symlink(&target, in_folder("link.ini")).unwrap();
    symlink(in_folder("nowhere"), in_folder("dangling.ini")).unwrap();
    fs::create_dir(in_folder("folder.ini")).unwrap();
    for name in ["link.ini", "dangling.ini", "folder.ini"] {
        for force in [&[][..], &["--force"]] {
            let mut command = program(&["config", "default", "-o"]);
            let told = fails(command.arg(in_folder(name)).args(force));
            assert!(told.contains(": it is not a regular file"), "{name}: {told}");
        }
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert!(!in_folder("nowhere").exists());
    let told =
        fails(program(&["config", "default", "--force", "-o"]).arg(in_folder("no/such.ini")));
    assert!(told.contains("no/such.ini cannot be written: No such file"), "{told}");

    // What is replaced is for its owner alone, whatever it was before; nothing is left beside it.
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
    let output = program(&["config", "default", "--force", "-o"]).arg(&target).output().unwrap();
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    let output = program(&["config", "default", "--force"]).output().unwrap();
    assert_eq!(code(&output), 2, "nothing to replace");
}

#[test]
fn fresh_secrets_take_the_place_of_the_defaults() {
    let plain = program(&["config", "default"]).output().unwrap();
    assert_eq!((code(&plain), err(&plain).as_str()), (0, ""), "no warning of what was asked for");
    assert!(out(&plain).contains("\nsecret = secret\n"));
    assert!(out(&plain).contains("\n# [channel orders-*]\n# notify_presence = false\n"));

    let mut command = program(&["config", "default", "--fresh-secrets"]);
    // With them it may listen anywhere; without it is refused.
    command.env("CHANNELSTREAM_HOST", "0.0.0.0");
    let fresh = command.output().unwrap();
    assert_eq!((code(&fresh), err(&fresh).as_str()), (0, ""));
    let of = |output: &Output, key: &str| {
        let text = out(output);
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
        line.unwrap_or_default().to_owned()
    };
    let again = command.output().unwrap();
    for key in ["secret", "admin_secret", "cookie_secret"] {
        assert_eq!(of(&fresh, key).len(), 64, "{key}");
        assert_ne!(of(&fresh, key), of(&again, key), "{key}");
    }
    fails(program(&["config", "default"]).env("CHANNELSTREAM_HOST", "0.0.0.0"));
    let given = command.env("CHANNELSTREAM_SECRET", "mine and long enough").output().unwrap();
    assert_eq!(of(&given, "secret"), "mine and long enough");
}

#[test]
fn a_switch_takes_its_value_behind_a_blank() {
    let shown_as = |arguments: &[&str], line: &str| {
        let lines = shown(program(&["config", "show"]).args(arguments));
        assert!(lines.iter().any(|shown| shown == line), "{arguments:?}: {lines:?}");
    };
    for arguments in [
        &["--enforce-https"][..],
        &["--enforce-https", "true"],
        &["--enforce-https", "Yes"],
        &["--enforce-https=on"],
        &["--enforce-https", "--port", "1"],
        &["--enforce-https", "true", "--port", "1"],
    ] {
        let value = arguments.get(1).filter(|text| !text.starts_with('-'));
        let value = if arguments[0].contains('=') { "on" } else { value.unwrap_or(&"true") };
        shown_as(arguments, &format!("enforce_https = {value}  (--enforce-https)"));
    }
    shown_as(&["--validate-requests", "0"], "validate_requests = 0  (--validate-requests)");

    // An invalid one is reported and stops the start.
    for arguments in [&["--enforce-https", "maybe"][..], &["--enforce-https=maybe"]] {
        let told = fails(&mut program(arguments));
        assert!(
            told.contains("--enforce-https: enforce_https = \"maybe\": neither true"),
            "{told}"
        );
    }
    let told = fails(program(&[]).env("CHANNELSTREAM_ENFORCE_HTTPS", "maybe"));
    assert!(told.contains("CHANNELSTREAM_ENFORCE_HTTPS: enforce_https = \"maybe\": "), "{told}");

    // Neither a command nor a file is a value.
    let output = program(&["--enforce-https", "config", "show"]).output().unwrap();
    assert_eq!(code(&output), 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("push.ini");
    fs::write(&path, "[channelstream]\nport = 1\n").unwrap();
    let mut command = program(&["config", "check", "--enforce-https"]);
    let output = command.arg(&path).output().unwrap();
    assert_eq!(out(&output), "ok\n", "{}", err(&output));
}

#[test]
fn settings_of_channels_are_shown_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("push.ini");
    fs::write(&path, "[channelstream]\n[channel orders-*]\nstore_history = true\nsize = 1\n")
        .unwrap();
    let lines = shown(program(&["config", "show", "--ini"]).arg(&path));
    let path = path.to_str().unwrap();
    let last =
        [format!("[channel orders-*]  ({path}:2)"), format!("store_history = true  ({path}:3)")];
    assert_eq!(lines[lines.len() - 2..], last);
    let output = program(&["config", "check", path]).output().unwrap();
    assert_eq!(out(&output), "ok\n");
    assert!(err(&output).contains(":4: unknown setting size, ignored"), "{}", err(&output));
}

#[test]
fn it_says_where_it_listens_and_ends_with_a_signal() {
    for signal in ["-TERM", "-INT"] {
        let running = Running::start(&mut program(&["--port", "0"]));
        let log = running.started.concat();
        for part in [
            "WARN",
            "the well-known default is in use: secret, admin_secret",
            "signed requests are accepted from 127.0.0.1, ::1; admin pages at http://127.0.0.1:",
            "WELL-KNOWN DEFAULT: secret, admin_secret",
        ] {
            assert!(log.contains(part), "{part} in {log}");
        }
        assert!(!log.contains('\u{1b}'), "colors in a file: {log}");
        let (code, rest) = running.end(signal);
        assert_eq!(code, Some(0), "{rest}");
        assert!(
            rest.contains(&format!("SIG{}: shutting down", &signal[1..]))
                && rest.contains("stopped"),
            "{rest}"
        );
    }
}

#[test]
fn the_log_can_be_json_and_holds_no_secret() {
    let mut command = program(&["--port=0", "--log-format=json", "--log-level=trace"]);
    command.env("CHANNELSTREAM_SECRET", "marked-1").env("CHANNELSTREAM_ADMIN_SECRET", "marked-2\n");
    command.env("CHANNELSTREAM_COOKIE_SECRET", "marked-3");
    let mut running = Running::start(&mut command);
    let started = std::mem::take(&mut running.started);
    let (code, rest) = running.end("-TERM");
    assert_eq!(code, Some(0), "{rest}");
    for line in started.iter().map(String::as_str).chain(rest.lines()) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["fields"]["message"].is_string(), "{line}");
        assert!(!line.to_string().contains("marked"), "{line}");
    }
}
