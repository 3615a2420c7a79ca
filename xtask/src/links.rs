//! Links of documents: what they name exists, and has the heading.

use std::collections::{BTreeMap, BTreeSet};

use crate::markdown::Document;

/// Where the repository can be read. A link to a file there is one to the file here.
const PUBLIC: &str = "https://github.com/channelstream/channelstream/";

/// Returns the links of documents that lead nowhere. `files` are the paths of all files.
pub(crate) fn broken(documents: &BTreeMap<String, Document>, files: &[String]) -> Vec<String> {
    let mut places: BTreeSet<&str> = files.iter().map(String::as_str).collect();
    for file in files {
        places.extend(file.match_indices('/').map(|(at, _)| &file[..at]));
    }
    let mut problems = Vec::new();
    for (path, document) in documents {
        for link in &document.links {
            if let Some(problem) = problem(path, link, documents, &places) {
                problems.push(format!("{path}: link to {link}: {problem}"));
            }
        }
    }
    problems
}

fn problem(
    path: &str,
    link: &str,
    documents: &BTreeMap<String, Document>,
    places: &BTreeSet<&str>,
) -> Option<String> {
    let (target, anchor) =
        link.split_once('#').map_or((link, None), |(target, anchor)| (target, Some(anchor)));
    let target = if let Some(shown) = target.strip_prefix(PUBLIC) {
        // `blob/main/…` and `tree/main/…`. What else is there is no file.
        shown.split_once("/main/")?.1.to_owned()
    } else if target.contains("://") || target.starts_with("mailto:") {
        return None;
    } else if target.is_empty() {
        path.to_owned()
    } else {
        match resolve(path, target) {
            Some(target) => target,
            None => return Some("it leads out of the repository".to_owned()),
        }
    };
    if !target.is_empty() && !places.contains(target.as_str()) {
        return Some(format!("there is no {target}"));
    }
    let anchor = anchor?;
    match documents.get(&target) {
        None => Some(format!("{target} is no document with headings")),
        Some(document) if document.anchors.iter().any(|found| found == anchor) => None,
        Some(_) => Some(format!("{target} has no heading {anchor}")),
    }
}

/// The path from the root of what a document names.
fn resolve(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            // A link from the root is one to the root of the site.
            "" => return None,
            "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::broken;
    use crate::markdown::Document;

    #[test]
    fn each_link_leads_somewhere_or_is_a_problem() {
        let files = ["README.md", "docs/a.md", "docs/b.md", "python/examples/bot.py"];
        let files: Vec<_> = files.map(str::to_owned).into();
        for (link, problems) in [
            ("a.md", 0),
            ("a.md#good", 0),
            ("#own", 0),
            ("../README.md", 0),
            ("./a.md", 0),
            ("../python/examples/", 0),
            ("../python/examples/bot.py", 0),
            ("https://example.org/nowhere.md#x", 0),
            ("mailto:ann@example.org", 0),
            ("https://github.com/channelstream/channelstream", 0),
            ("https://github.com/channelstream/channelstream/issues", 0),
            ("https://github.com/channelstream/channelstream/blob/main/docs/a.md#good", 0),
            ("https://github.com/channelstream/channelstream/blob/main/docs/c.md", 1),
            ("a.md#bad", 1),
            ("#good", 1),
            ("c.md", 1),
            ("docs/a.md", 1),
            ("A.md", 1),
            ("/docs/a.md", 1),
            ("../../README.md", 1),
            ("../python/examples/bot.py#main", 1),
        ] {
            let text = format!("# Own\n\n[link]({link})\n");
            let documents = BTreeMap::from([
                ("docs/a.md".to_owned(), Document::parse("# Good\n")),
                ("docs/b.md".to_owned(), Document::parse(&text)),
            ]);
            let found = broken(&documents, &files);
            assert_eq!(found.len(), problems, "{link}: {found:?}");
        }
    }
}
