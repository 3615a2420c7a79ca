//! `llms.txt`: the documents for language models, made of their titles and first sentences.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use xshell::Shell;

use crate::{
    markdown::{Document, plain},
    tidy,
};

/// In the form of <https://llmstxt.org>.
const FILE: &str = "llms.txt";
const ROOT: &str = "README.md";

/// The documents, in the order in which they are read. Each is in one of these sections, and what is
/// under the last of them can be left out.
const SECTIONS: [(&str, &[&str]); 6] = [
    ("First steps", &[ROOT, "docs/fastapi.md", "docs/django.md"]),
    (
        "Clients",
        &[
            "python/README.md",
            "channelstream-js/README.md",
            "channelstream-client/README.md",
            "channelstream-cli/README.md",
        ],
    ),
    (
        "Applications",
        &["docs/http-api.md", "docs/webhooks.md", "docs/testing.md", "docs/client-spec.md"],
    ),
    (
        "The server",
        &[
            "docs/settings.md",
            "docs/operations.md",
            "docs/admin.md",
            "docs/metrics.md",
            "docs/guarantees.md",
            "docs/upgrading-from-0.7.md",
            "channelstream-server/README.md",
        ],
    ),
    (
        "Examples",
        &[
            "channelstream-client/examples/assistant/README.md",
            "channelstream-js/examples/ai-chat/README.md",
        ],
    ),
    (
        "Optional",
        &[
            "docs/wire-contract.md",
            "docs/benchmarks.md",
            "docs/decisions.md",
            "ARCHITECTURE.md",
            "CONTRIBUTING.md",
            "RELEASE.md",
            "SECURITY.md",
            "CHANGELOG.md",
            "channelstream-core/README.md",
            "channelstream-signer/README.md",
            "channelstream-server/tests/oracle/README.md",
        ],
    ),
];

/// `cargo xtask llms`.
pub(crate) fn run(shell: &Shell) -> Result<()> {
    let (documents, _) = tidy::documents(shell)?;
    Ok(shell.write_file(FILE, text(&documents)?)?)
}

/// Returns what is wrong with the file.
pub(crate) fn problems(shell: &Shell, documents: &BTreeMap<String, Document>) -> Vec<String> {
    let listed = |path: &str| SECTIONS.iter().any(|(_, paths)| paths.contains(&path));
    let mut problems: Vec<_> = documents
        .keys()
        .filter(|path| !listed(path))
        .map(|path| format!("{path}: it is in no section of {FILE}: xtask/src/llms.rs has them"))
        .collect();
    match text(documents) {
        Err(error) => problems.push(format!("{FILE}: {error:#}")),
        Ok(text) if shell.read_file(FILE).is_ok_and(|found| found == text) => {}
        Ok(_) => problems.push(format!("{FILE}: it is out of date: `cargo xtask llms` writes it")),
    }
    problems
}

fn text(documents: &BTreeMap<String, Document>) -> Result<String> {
    let root = documents.get(ROOT).with_context(|| format!("there is no {ROOT}"))?;
    let about = root.paragraphs.first().with_context(|| format!("{ROOT} says nothing"))?;
    let mut text = format!("# {}\n\n> {}\n", root.title, plain(about));
    for (section, paths) in SECTIONS {
        text += &format!("\n## {section}\n\n");
        for path in paths {
            let document = documents.get(*path).with_context(|| format!("there is no {path}"))?;
            let about = document.first_sentence();
            let about = about.with_context(|| format!("{path} does not begin with a sentence"))?;
            text += &format!("- [{}]({path}): {about}\n", document.title);
        }
    }
    Ok(text)
}
