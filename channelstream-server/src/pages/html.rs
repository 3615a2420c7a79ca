//! HTML made of templates.

/// A value for a template.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// Any text. It is escaped.
    Text(&'a str),
    /// HTML that this program made. It goes in as it is.
    Html(&'a str),
}

/// Replaces each `{{name}}` of a template by its value, in one pass: braces in values stay as they
/// are. A name without a value stays too, which a test of the pages finds.
pub(super) fn fill(template: &str, values: &[(&str, Value<'_>)]) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, name, after)) = next_name(rest) {
        out.push_str(before);
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, Value::Text(text))) => escape(text, &mut out),
            Some((_, Value::Html(html))) => out.push_str(html),
            None => out.extend(["{{", name, "}}"]),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The first name in double braces, with what stands before and after it.
fn next_name(template: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = template.split_once("{{")?;
    let (name, after) = rest.split_once("}}")?;
    Some((before, name, after))
}

/// Appends a text for use between tags and in quoted attributes.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_neither_read_again_nor_taken_for_markup() {
        let values = [("a", Value::Text("{{b}} <i>\"&'")), ("b", Value::Html("<b>{{a}}</b>"))];
        assert_eq!(
            fill("<p title=\"{{a}}\">{{b}}{{a}}</p>", &values),
            "<p title=\"{{b}} &lt;i&gt;&quot;&amp;&#39;\"><b>{{a}}</b>{{b}} &lt;i&gt;&quot;&amp;&#39;</p>"
        );
        assert_eq!(fill("{{none}} {{a", &values), "{{none}} {{a");
        assert_eq!(fill("", &values), "");
    }
}
