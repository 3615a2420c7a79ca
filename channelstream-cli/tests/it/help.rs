//! What the program says of itself.

use std::fs;
use std::path::Path;

use crate::program::{failed, printed, run};

#[test]
fn the_help_of_each_command_is_as_it_was() {
    for command in ["channelstream", "info", "publish", "sign", "unsign"] {
        let arguments =
            if command == "channelstream" { &["--help"][..] } else { &[command, "--help"] };
        let help = printed(run(arguments));
        let file = format!("tests/it/help/{command}.txt");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &help).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap();
        assert!(
            help == expected,
            "the help has changed; if that is right, run this test with UPDATE_GOLDEN=1 and look \
             at the difference in {}:\n{help}",
            golden.display()
        );
    }
}

#[test]
fn without_a_command_the_help_is_shown() {
    let ended = run(&[]);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    assert!(ended.err.contains("Usage: channelstream"), "{}", ended.err);
    assert_eq!(printed(run(&["-V"])), concat!("channelstream ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &["publish"][..],
        &["publish", "no address"],
        &["publish", "news"],
        &["unsign"],
        &["unsign", "x", "--max-age", "soon"],
        &["sign", "--secret", "a", "--secret-file", "b"],
        &["conect"],
        &["info", "--josn"],
        &["--url", "http://127.0.0.1"],
    ] {
        let ended = run(arguments);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{arguments:?}: {}", ended.err);
        assert!(ended.err.starts_with("error: "), "{arguments:?}: {}", ended.err);
    }
}

#[test]
fn who_means_the_server_is_told_its_name() {
    for (arguments, file) in [
        (&["--ini", "my.ini"][..], "my.ini"),
        (&["-i", "my.ini"], "my.ini"),
        (&["--ini=my.ini"], "my.ini"),
        (&["-imy.ini"], "my.ini"),
        (&["--ini"], "FILE"),
    ] {
        let ended = run(arguments);
        let (_, hint) = failed(&ended, 2);
        assert_eq!(hint.unwrap(), format!("the server is `channelstream-server --ini {file}`"));
    }
}
