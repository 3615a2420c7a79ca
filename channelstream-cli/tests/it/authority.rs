//! A certificate authority for one test, made with openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A certificate and its key, as PEM.
pub(crate) struct Issued {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// An authority that only programs with its certificate trust.
pub(crate) struct Authority(TempDir);

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        self_issued(folder.path(), "authority", "/CN=authority", &[]);
        fs::write(folder.path().join("index"), "").unwrap();
        fs::write(
            folder.path().join("ca.conf"),
            "[ca]\ndefault_ca = own\n\
             [own]\ndatabase = index\nnew_certs_dir = .\nrand_serial = yes\n\
             default_md = sha256\npolicy = any\nunique_subject = no\n\
             [any]\ncommonName = supplied\n",
        )
        .unwrap();
        Self(folder)
    }

    /// Returns the path of the authority's own certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.path().join("authority.pem")
    }

    /// Issues a certificate for a host. These flags of `openssl ca` set its validity.
    pub(crate) fn issue(&self, host: &str, validity: &[&str]) -> Issued {
        let folder = self.0.path();
        let request = format!("{host}.csr");
        let key = format!("{host}.key");
        let subject = format!("/CN={host}");
        let made = ["req", "-new", "-subj", &subject, "-keyout", &key, "-out", &request];
        openssl(folder, &[&made[..], &NEW_KEY].concat());
        let names = format!("{host}.names");
        fs::write(folder.join(&names), format!("subjectAltName = DNS:{host}\n")).unwrap();
        let certificate = format!("{host}.pem");
        let signed = [
            &["ca", "-batch", "-notext", "-config", "ca.conf", "-in", &request][..],
            &["-cert", "authority.pem", "-keyfile", "authority.key"],
            &["-extfile", &names, "-out", &certificate],
            validity,
        ];
        openssl(folder, &signed.concat());
        Issued { certificate: folder.join(certificate), key: folder.join(key) }
    }

    /// Creates a self-signed certificate for a host.
    pub(crate) fn not_ours(&self, host: &str) -> Issued {
        let names = format!("subjectAltName=DNS:{host}");
        self_issued(self.0.path(), "alone", &format!("/CN={host}"), &["-addext", &names])
    }
}

const NEW_KEY: [&str; 5] = ["-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

fn self_issued(folder: &Path, name: &str, subject: &str, more: &[&str]) -> Issued {
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    let made = ["req", "-x509", "-days", "100", "-subj", subject, "-keyout", &key];
    openssl(folder, &[&made[..], &["-out", &certificate], &NEW_KEY, more].concat());
    Issued { certificate: folder.join(certificate), key: folder.join(key) }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output();
    let output = output.expect("these tests need openssl: `cargo xtask test` installs it");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {text}");
}
