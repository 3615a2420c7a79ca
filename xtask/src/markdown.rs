//! What a Markdown document consists of, as far as checks need it: title, paragraphs, anchors, links.

/// A document, without the code in it.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// The text of its first heading.
    pub(crate) title: String,
    /// What stands between empty lines, code and headings, each on one line.
    pub(crate) paragraphs: Vec<String>,
    /// The names of its headings in addresses, as GitHub makes them.
    pub(crate) anchors: Vec<String>,
    /// Where its links lead, as it says it.
    pub(crate) links: Vec<String>,
}

impl Document {
    pub(crate) fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let mut paragraph = String::new();
        let mut fence = None;
        for line in text.lines() {
            let bare = line.trim();
            if let Some(open) = fence {
                if bare.starts_with(open) && bare.trim_start_matches(open).is_empty() {
                    fence = None;
                }
                continue;
            }
            fence = ["```", "~~~"].into_iter().find(|fence| bare.starts_with(fence));
            let heading = heading(line);
            if bare.is_empty() || fence.is_some() || heading.is_some() {
                document.end(&mut paragraph);
            } else {
                if !paragraph.is_empty() {
                    paragraph.push(' ');
                }
                paragraph += bare;
            }
            if let Some(heading) = heading {
                document.head(heading);
            }
        }
        document.end(&mut paragraph);
        document
    }

    /// The first sentence behind the title, without its links.
    pub(crate) fn first_sentence(&self) -> Option<String> {
        // Before it may stand a list of links to the headings.
        let text =
            self.paragraphs.iter().find(|text| !text.starts_with("[") || !text.contains("](#"))?;
        let text = plain(text);
        let ends = text.match_indices('.').map(|(at, _)| at + 1);
        let end =
            ends.into_iter().find(|end| matches!(text[*end..].chars().next(), None | Some(' ')))?;
        Some(text[..end].to_owned())
    }

    fn head(&mut self, heading: &str) {
        self.links.extend(links(&without_code(heading)));
        let name = anchor(heading);
        let same = self.anchors.iter().filter(|anchor| {
            anchor.strip_prefix(&name).is_some_and(|rest| {
                rest.is_empty() || rest.strip_prefix('-').is_some_and(|n| n.parse::<u32>().is_ok())
            })
        });
        let count = same.count();
        self.anchors.push(if count == 0 { name } else { format!("{name}-{count}") });
        if self.title.is_empty() {
            heading.clone_into(&mut self.title);
        }
    }

    fn end(&mut self, paragraph: &mut String) {
        if !paragraph.is_empty() {
            self.links.extend(links(&without_code(paragraph)));
            self.paragraphs.push(std::mem::take(paragraph));
        }
    }
}

/// The text of a heading: `## Text`.
fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    (1..=6).contains(&level).then(|| text.strip_prefix(' ')).flatten().map(str::trim)
}

/// The name of a heading in addresses.
fn anchor(heading: &str) -> String {
    let kept = plain(heading).to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// A text in which links are what they show.
pub(crate) fn plain(text: &str) -> String {
    let mut found = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("](") {
        let (before, after) = rest.split_at(at);
        let (Some(open), Some(close)) = (before.rfind('['), after.find(')')) else { break };
        found += &before[..open];
        found += &before[open + 1..];
        rest = &after[close + 1..];
    }
    found + rest
}

/// A text without its spans of code, in which nothing is a link.
fn without_code(text: &str) -> String {
    let mut found = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('`') {
        let (before, code) = rest.split_at(at);
        let inside = code.trim_start_matches('`');
        let ticks = &code[..code.len() - inside.len()];
        found += before;
        rest = match inside.find(ticks) {
            Some(end) => &inside[end + ticks.len()..],
            None => inside,
        };
    }
    found + rest
}

/// Where the links of a text lead: `[text](target)`, and `[name]: target` in a paragraph of such.
fn links(text: &str) -> Vec<String> {
    let inline = text.split("](").skip(1).map(|rest| rest.split([')', ' ']).next());
    let named = text.starts_with('[').then(|| text.split("]: ").skip(1));
    let named = named.into_iter().flatten().map(|rest| rest.split(' ').next());
    let targets = inline.chain(named).flatten();
    targets.map(|target| target.trim_matches(['<', '>']).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::Document;

    const TEXT: &str = "\
# The `name` of *it*

[One](#one) · [Two](#two)

It is at 0.7.1, with [a
link](docs/a.md#b \"title\"). Then `[code](none.md)` and ``[`more`](none.md)``; a ` alone, [`x`](x.md).

## One_more: time & [place](p.md)

```md
# no heading
[no](link.md)
```

* a list with [a link](<b.md>)

## One_more: time & place

[named]: c.md
[other]: d.md
";

    #[test]
    fn its_parts_are_found() {
        let document = Document::parse(TEXT);
        assert_eq!(document.title, "The `name` of *it*");
        assert_eq!(
            document.anchors,
            ["the-name-of-it", "one_more-time--place", "one_more-time--place-1"]
        );
        let links = ["#one", "#two", "docs/a.md#b", "x.md", "p.md", "b.md", "c.md", "d.md"];
        assert_eq!(document.links, links);
        assert_eq!(document.first_sentence().as_deref(), Some("It is at 0.7.1, with a link."));
    }

    #[test]
    fn what_ends_with_a_colon_is_no_sentence() {
        for text in ["# A\n\nThree things:\n\n* one.\n", "# A\n"] {
            assert_eq!(Document::parse(text).first_sentence(), None, "{text}");
        }
    }
}
