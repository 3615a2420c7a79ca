//! TLS from files: pairs that cannot serve, warnings, the program with them, and a pair that is renewed.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::app::Request;
use crate::process::{PROGRAM, Process, quiet};
use crate::tls::{CERTIFICATE, ISSUER, KEY, Line};

/// Files of a certificate and its key.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new(certificate: &str, key: &str) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::write(files.certificate(), certificate).unwrap();
        std::fs::write(files.key(), key).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(files.key(), private).unwrap();
        }
        files
    }

    /// A certificate that signs itself, by openssl with these flags.
    fn generated(flags: &[&str]) -> Self {
        let files = Self::new("", "");
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-subj", "/CN=localhost", "-out"])
            .arg(files.certificate())
            .arg("-keyout")
            .arg(files.key())
            .args(flags)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        files
    }

    fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }

    fn flags(&self) -> [String; 4] {
        let [certificate, key] = [self.certificate(), self.key()];
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        ["--tls-cert".to_owned(), text(certificate), "--tls-key".to_owned(), text(key)]
    }

    /// What `config check` says of them.
    fn check(&self) -> String {
        let flags = self.flags();
        let flags: Vec<_> =
            ["config", "check"].into_iter().chain(flags.iter().map(|it| &**it)).collect();
        let mut command = Command::new(PROGRAM);
        command.args(&flags[..2]);
        let output = quiet(&mut command, &flags[2..]).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }
}

#[test]
fn pairs_that_cannot_serve_are_told_at_the_start() {
    let other = Files::generated(&["-days", "30"]);
    let other_key = std::fs::read_to_string(other.key()).unwrap();
    for (certificate, key, text) in [
        (CERTIFICATE, other_key.as_str(), "does not belong to the first certificate in tls_cert"),
        ("", KEY, "tls_cert has no certificate in PEM"),
        (KEY, KEY, "tls_cert has no certificate in PEM"),
        (CERTIFICATE, CERTIFICATE, "tls_key has no private key in PEM"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            KEY,
            "certificate 1 of the chain cannot be parsed",
        ),
        (
            CERTIFICATE,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "the key in tls_key is encrypted",
        ),
    ] {
        let said = Files::new(certificate, key).check();
        assert!(said.contains(text), "{text}: {said}");
        assert!(!said.contains("ok\n") && !said.contains("panic"), "{said}");
    }
    let said = other.check();
    assert!(said.starts_with("ok\n") && !said.contains("certificate"), "{said}");
    let files = Files::new(CERTIFICATE, KEY);
    let flags = files.flags();
    let mut alone = Command::new(PROGRAM);
    let alone = quiet(&mut alone, &[&flags[0], &flags[1]]).output().unwrap();
    assert!(String::from_utf8_lossy(&alone.stderr).contains("it needs tls_key"), "{alone:?}");
}

#[test]
fn a_certificate_about_to_expire_and_an_open_key_are_warned_of() {
    let soon = Files::generated(&["-days", "2"]);
    assert!(soon.check().contains("the certificate expires in "), "{}", soon.check());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(soon.key(), open).unwrap();
        assert!(soon.check().contains("every user of this machine can read the key"));
    }
}

#[test]
fn the_program_speaks_tls_and_is_asked_for_its_health() {
    let files = Files::new(CERTIFICATE, KEY);
    let flags = files.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let mut process = Process::start(&flags);
    assert!(process.log().contains("listening on https://127.0.0.1:"), "{}", process.log());
    let id = {
        let mut line = Line::to(process.address, &[]);
        let body = json!({"username": "ann", "channels": ["a"]});
        let answer = line.send(Request::call("/connect", &body));
        answer.split_once(r#""conn_id":""#).unwrap().1.split('"').next().unwrap().to_owned()
    };
    let health = |flags: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("health");
        quiet(&mut command, flags)
            .env("SSL_CERT_FILE", files.directory.path().join("ca.pem"))
            .output()
    };
    let port = process.address.port().to_string();
    let own = health(&[&flags[..], &["--port", &port]].concat()).unwrap();
    assert!(own.status.success(), "{own:?}");
    // A URL is checked against the authorities of the system.
    let url = format!("https://localhost:{port}/readyz");
    std::fs::write(files.directory.path().join("ca.pem"), ISSUER).unwrap();
    let known = health(&[&url]).unwrap();
    assert!(known.status.success(), "{known:?}");
    let other = Files::generated(&["-days", "30"]);
    std::fs::copy(other.certificate(), files.directory.path().join("ca.pem")).unwrap();
    let unknown = health(&[&url]).unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("certificate"), "{unknown:?}");
    // The drain closes a websocket with 1001 and an end of TLS.
    let mut socket = Line::to(process.address, &[]).upgraded(&id);
    process.signal("TERM");
    loop {
        let (first, frame) = socket.frame();
        if first == 0x88 {
            assert_eq!(frame[..2], 1001_u16.to_be_bytes());
            break;
        }
    }
    assert_eq!(socket.stream.read(&mut [0]).unwrap(), 0, "with a close_notify");
    drop(socket);
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
}

#[cfg(unix)]
#[test]
fn a_pair_that_was_renewed_counts_from_a_reload_on_and_a_wrong_one_never() {
    let first = Files::generated(&["-days", "30", "-addext", "subjectAltName=IP:127.0.0.1"]);
    let second = Files::generated(&["-days", "60", "-addext", "subjectAltName=IP:127.0.0.1"]);
    let place = Files::new("", "");
    let put = |certificate: &Files, key: &Files| {
        std::fs::copy(certificate.certificate(), place.certificate()).unwrap();
        std::fs::copy(key.key(), place.key()).unwrap();
    };
    put(&first, &first);
    let flags = place.flags();
    let process = Process::start(&flags.each_ref().map(String::as_str));
    let is_shown = |files: &Files| {
        let url = format!("https://{}/readyz", process.address);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "20", "--cacert"]).arg(files.certificate());
        curl.arg(url).output().unwrap().status.success()
    };
    assert_eq!((is_shown(&first), is_shown(&second)), (true, false));
    let reload = |outcome: &str| {
        process.signal("HUP");
        process.wait_for(outcome, |log| log.contains(outcome).then_some(()));
    };
    // Half of a pair: the tool that renews it writes one file after the other.
    put(&second, &first);
    reload("settings not reloaded");
    assert!(
        process.log().contains("does not belong to the first certificate"),
        "{}",
        process.log()
    );
    assert_eq!((is_shown(&first), is_shown(&second)), (true, false));
    put(&second, &second);
    reload("settings reloaded; changed: tls_cert");
    assert_eq!((is_shown(&first), is_shown(&second)), (false, true));
}
