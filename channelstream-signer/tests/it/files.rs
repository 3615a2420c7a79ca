//! Files of secrets as editors, shells and accidents leave them.

use std::fs;
use std::path::PathBuf;

use channelstream_signer::TimestampSigner;
use channelstream_signer::file::{self, FileError, MAX_SECRETS};

/// A file in a folder of its own, which is kept as long as the file is needed.
fn file(bytes: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.txt");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn read(bytes: impl AsRef<[u8]>) -> Result<String, FileError> {
    let (_folder, path) = file(bytes);
    file::read_secrets(&path)
}

#[track_caller]
fn refused(bytes: impl AsRef<[u8]>, because: &str) {
    let error = read(bytes).unwrap_err().to_string();
    assert!(error.contains(because), "{error}");
    assert!(!error.contains("hidden"), "{error}");
}

#[test]
fn one_secret_stands_on_each_line() {
    for (bytes, secrets) in [
        (&b"abc"[..], &["abc"][..]),
        (b"abc\n", &["abc"]),
        (b"abc\r\n", &["abc"]),
        (b"\n\nabc\n\n\n", &["abc"]),
        (b"new\nold\n", &["new", "old"]),
        (b"new\r\n\r\n  old \t\r\noldest", &["new", "old", "oldest"]),
        (b"\xef\xbb\xbfnew\r\nold\r\n", &["new", "old"]),
        (b"with a blank", &["with a blank"]),
        // A single one counts with the blanks around it as well.
        (b" abc\n", &["abc", " abc"]),
    ] {
        let text = read(bytes).unwrap();
        assert_eq!(file::secrets(&text), secrets, "{bytes:?}");
    }
    assert_eq!(file::secrets("\u{feff}abc"), ["abc"], "a variable filled from a file");
    assert_eq!(file::secrets(" \n"), [""; 0]);
}

#[test]
fn the_newest_signs_and_all_check() {
    let (_folder, path) = file("new\nold\n");
    let text = file::read_secrets(&path).unwrap();
    let signer = TimestampSigner::with_secrets(file::secrets(&text)).unwrap();
    assert_eq!(signer.sign_at("/", 7), TimestampSigner::new("new").sign_at("/", 7));
    assert!(signer.validate(&TimestampSigner::new("old").sign("/")));
    assert!(TimestampSigner::with_secrets([""; 0]).is_none());
}

#[test]
fn files_that_hold_no_secrets_are_refused_by_name() {
    refused("", "it is empty");
    refused("\n \r\n", "it is empty");
    refused(b"\xef\xbb\xbf\n", "it is empty");
    refused(b"\xff\xfeh\0i\0d\0d\0e\0n\0", "it is UTF-16 by its byte order mark");
    refused(b"\xfe\xff\0h\0i", "it is UTF-16");
    refused(b"\xff\xfe\0\0h\0\0\0", "it is UTF-32");
    refused(b"hidden\n\xff", "line 2 is not UTF-8");
    refused("hidden\nhid\0den", "line 2 has the character U+0000");
    refused("hid\tden", "line 1 has the character U+0009");
    refused("hid\u{85}den", "U+0085");
    refused("hidden\r\rhidden", "U+000D");
    // Two files with a mark each, one behind the other.
    refused("\u{feff}hidden\n\u{feff}hidden", "line 2 has the character U+FEFF");
}

#[test]
fn no_file_is_read_without_end() {
    let most = usize::try_from(MAX_SECRETS).unwrap();
    assert_eq!(read("x".repeat(most)).unwrap().len(), most);
    refused("x".repeat(most + 1), "it is larger than 65536 bytes");
    let folder = tempfile::tempdir().unwrap();
    let error = file::read_secrets(folder.path()).unwrap_err();
    assert!(matches!(error, FileError::Directory), "{error:?}");
    let error = file::read_secrets(&folder.path().join("none")).unwrap_err();
    assert!(matches!(error, FileError::System(_)), "{error:?}");
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_read_within_bounds() {
    use std::io::{Write as _, pipe};
    use std::os::fd::AsRawFd as _;
    use std::path::Path;

    let error = file::read_secrets(Path::new("/dev/zero")).unwrap_err();
    assert!(matches!(error, FileError::TooLarge(MAX_SECRETS)), "{error:?}");
    // As a shell hands over `<(pass show push)`.
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"piped\n").unwrap();
    drop(writer);
    let path = format!("/dev/fd/{}", reader.as_raw_fd());
    assert_eq!(file::read_secrets(Path::new(&path)).unwrap(), "piped");
}
