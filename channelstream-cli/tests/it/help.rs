//! The help of the program.

use std::fs;
use std::path::Path;

use crate::program::{failed, printed, run};

#[test]
fn the_help_of_each_command_is_as_it_was() {
    let whole = printed(run(&["--help"]));
    let commands = whole.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    let commands: Vec<_> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 15 && commands.contains(&"doctor"), "{commands:?}");
    for command in commands.into_iter().chain(["channelstream"]) {
        if command == "help" {
            continue;
        }
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
    // The server has the same three.
    for flag in ["-v", "-V", "--version"] {
        let version = concat!("channelstream ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(printed(run(&[flag])), version, "{flag}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &["publish"][..],
        &["unsign"],
        &["unsign", "x", "--max-age", "soon"],
        &["sign", "--secret", "a", "--secret-file", "b"],
        &["conect"],
        &["info", "--josn"],
        &["info", "--json", "--quiet"],
        &["publish", "--skip", "3", "news", "text"],
        &["publish", "--file", "x", "--rate", "0", "news"],
        &["edit", "7", "news", "no id"],
        &["user-state", "ann", "mood"],
        &["listen"],
        &["listen", "--channel", "news", "00000000-0000-0000-0000-000000000007"],
        &["listen", "--user", "ann", "--for", "soon"],
        &["completions", "cobol"],
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
        assert_eq!(
            hint.unwrap(),
            format!("to start the server: channelstream-server --ini {file}")
        );
    }
}

#[test]
fn completions_and_manual_know_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = printed(run(&["completions", shell]));
        assert!(
            ["user-state", "except-user", "interval", "listeners"]
                .iter()
                .all(|word| script.contains(word)),
            "{shell}"
        );
    }
    let page = printed(run(&["man"]));
    assert!(page.contains(".TH channelstream 1") && page.contains("user\\-state"), "{page}");
    assert!(
        page.contains("channelstream\\-top") && page.contains("channelstream\\-bench"),
        "{page}"
    );
    let page = printed(run(&["man", "publish"]));
    assert!(page.contains(".TH channelstream-publish 1"), "{page}");
    let source = concat!("\"channelstream ", env!("CARGO_PKG_VERSION"), "\"");
    assert!(page.contains("\\-\\-rate") && page.contains(source), "{page}");
    assert_eq!(failed(&run(&["man", "nothing"]), 2).0, "there is no command `nothing`");
}
