//! House rules that no lint knows: heads, lengths and names of files, words, links of documents.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result, ensure};
use xshell::{Shell, cmd};

use crate::{links, llms, markdown::Document, python};

const LONGEST: usize = 600;

/// How the head of a longer file begins its reason.
const EXCUSE: &str = "//! Long because";

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 9] =
    ["common", "helper", "helpers", "manager", "misc", "types", "util", "utils", "utilities"];

/// Put together here, so that this file passes its own check.
const UNFINISHED: [&str; 4] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("#[", "ignore"),
];

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let mut problems = Vec::new();
    for path in files(shell)? {
        let is_python = path.starts_with(python::FOLDER) && path.ends_with(".py");
        if is_python || [".rs", ".mjs", ".ts"].iter().any(|end| path.ends_with(end)) {
            let text = shell.read_file(&path)?;
            problems.extend(
                check(&path, &text).into_iter().map(|problem| format!("{path}: {problem}")),
            );
        }
    }
    let (documents, files) = documents(shell)?;
    problems.extend(links::broken(&documents, &files));
    problems.extend(llms::problems(shell, &documents));
    ensure!(problems.is_empty(), "{} untidy places\n{}", problems.len(), problems.join("\n"));
    Ok(())
}

/// The documents by their paths, and the paths of all files.
pub(crate) fn documents(shell: &Shell) -> Result<(BTreeMap<String, Document>, Vec<String>)> {
    let files = files(shell)?;
    let mut documents = BTreeMap::new();
    for path in files.iter().filter(|path| path.ends_with(".md")) {
        documents.insert(path.clone(), Document::parse(&shell.read_file(path)?));
    }
    Ok((documents, files))
}

/// The project's files, by their paths from the root: known to git or about to be.
pub(crate) fn files(shell: &Shell) -> Result<Vec<String>> {
    let list = cmd!(shell, "git ls-files --cached --others --exclude-standard").quiet();
    let list = list.read().context("the list of files comes from git")?;
    // A file that was removed but not yet committed is still listed.
    Ok(list.lines().filter(|path| shell.path_exists(path)).map(String::from).collect())
}

fn check(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if EMPTY_NAMES.contains(&stem) {
        problems.push(format!("{stem} says nothing about the contents"));
    }
    let head = match Path::new(path).extension().and_then(|end| end.to_str()) {
        Some("rs") => "//! ",
        Some("py") => "\"\"\"",
        _ => "// ",
    };
    if !text.starts_with(head) {
        problems
            .push(format!("the first line should name the subject of the file, after {head:?}"));
    }
    let lines = text.lines().count();
    if lines > LONGEST && !text.lines().any(|line| line.starts_with(EXCUSE)) {
        problems.push(format!("{lines} lines, at most {LONGEST} without a line {EXCUSE:?}"));
    }
    for word in UNFINISHED {
        if text.contains(word) {
            problems.push(format!("{word} may not stay"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn each_rule_finds_its_problem() {
        let long = "//! Numbers.\n".to_owned() + &"// line\n".repeat(600);
        for (path, text, problems) in [
            ("a/src/number.rs", "//! Numbers.\n", 0),
            ("a/tests/number.mjs", "// Numbers.\n", 0),
            ("a/tests/number.py", "\"\"\"Numbers.\"\"\"\n", 0),
            ("a/tests/number.py", "# Numbers.\n", 1),
            ("a/src/number.rs", "// Numbers.\n", 1),
            ("a/src/number.rs", "", 1),
            ("a/src/util.rs", "//! Numbers.\n", 1),
            ("a/src/number.rs", &*long, 1),
            ("a/src/number.rs", &long.replacen("// line", "//! Long because so.", 1), 0),
            ("a/src/number.rs", concat!("//! Numbers.\nfn f() { todo", "!() }\n"), 1),
            ("a/src/number.rs", concat!("//! Numbers.\n#[", "ignore]\n"), 1),
        ] {
            assert_eq!(check(path, text).len(), problems, "{path}: {:?}", check(path, text));
        }
    }
}
