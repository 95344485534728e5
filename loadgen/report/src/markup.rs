//! A writer of HTML and SVG that cannot leave a tag open or a text unescaped.
//!
//! The result is well-formed XML too, which the tests use.

use std::fmt::{Display, Write as _};

/// Attributes of one element: names and values.
pub(crate) type Attributes<'a> = &'a [(&'a str, &'a dyn Display)];

/// A document that grows.
#[derive(Default)]
pub(crate) struct Markup {
    text: String,
}

impl Markup {
    /// The document so far.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    /// The document type of HTML 5. Comes first.
    pub(crate) fn doctype(&mut self) {
        self.text.push_str("<!DOCTYPE html>\n");
    }

    /// An element and what `inside` writes into it.
    pub(crate) fn element(
        &mut self,
        tag: &str,
        attributes: Attributes,
        inside: impl FnOnce(&mut Self),
    ) {
        self.open(tag, attributes);
        self.text.push('>');
        inside(self);
        let _ = write!(self.text, "</{tag}>");
        if breaks_line(tag) {
            self.text.push('\n');
        }
    }

    /// An element with `text` in it.
    pub(crate) fn leaf(&mut self, tag: &str, attributes: Attributes, text: &str) {
        self.element(tag, attributes, |markup| markup.text(text));
    }

    /// An element without content: a void element of HTML, or any of SVG.
    pub(crate) fn empty(&mut self, tag: &str, attributes: Attributes) {
        self.open(tag, attributes);
        self.text.push_str("/>");
    }

    /// Text, escaped.
    pub(crate) fn text(&mut self, text: &str) {
        escape(&mut self.text, text);
    }

    /// A name, escaped, which a line may break behind each of its points and underscores.
    pub(crate) fn name(&mut self, name: &str) {
        let mut parts = name.split_inclusive(['_', '.']).peekable();
        while let Some(part) = parts.next() {
            self.text(part);
            if part.ends_with(['_', '.']) && parts.peek().is_some() {
                self.text.push_str("<wbr/>");
            }
        }
    }

    /// A style sheet, unescaped: it is ours, and holds neither `<` nor `&`.
    pub(crate) fn style(&mut self, sheet: &'static str) {
        self.text.push_str("<style>\n");
        self.text.push_str(sheet);
        self.text.push_str("</style>\n");
    }

    /// A script or its data, unescaped, in a way that is right for HTML and for XML: `<` and `&` never stand in it as such
    /// when it is JSON, and a script of ours is wrapped as character data.
    pub(crate) fn script(&mut self, kind: &str, id: Option<&str>, text: &str) {
        let json = kind.ends_with("json");
        if let Some(id) = id {
            self.open("script", &[("type", &kind), ("id", &id)]);
        } else {
            self.open("script", &[]);
        }
        self.text.push('>');
        if json {
            for c in text.chars() {
                match c {
                    '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                        let _ = write!(self.text, "\\u{:04x}", u32::from(c));
                    }
                    c => self.text.push(c),
                }
            }
        } else {
            self.text.push_str(text);
        }
        self.text.push_str("</script>\n");
    }

    fn open(&mut self, tag: &str, attributes: Attributes) {
        self.text.push('<');
        self.text.push_str(tag);
        for (name, value) in attributes {
            let _ = write!(self.text, " {name}=\"");
            escape(&mut self.text, &value.to_string());
            self.text.push('"');
        }
    }
}

fn breaks_line(tag: &str) -> bool {
    matches!(
        tag,
        "head"
            | "title"
            | "header"
            | "main"
            | "section"
            | "h1"
            | "h2"
            | "h3"
            | "p"
            | "ul"
            | "li"
            | "table"
            | "caption"
            | "thead"
            | "tbody"
            | "tr"
            | "div"
            | "svg"
            | "g"
            | "dl"
            | "dd"
            | "figure"
            | "nav"
            | "pre"
    )
}

fn escape(into: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\'' => into.push_str("&#39;"),
            '\n' | '\t' => into.push(c),
            // Neither HTML nor XML may hold these.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => into.push('\u{fffd}'),
            c => into.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_dynamic_is_escaped() {
        let mut markup = Markup::default();
        markup.leaf(
            "b",
            &[("title", &"\"><script>&'")],
            "<script>\u{1b}[31m&amp;",
        );
        assert_eq!(
            markup.finish(),
            "<b title=\"&quot;&gt;&lt;script&gt;&amp;&#39;\">&lt;script&gt;\u{fffd}[31m&amp;amp;</b>"
        );
    }

    #[test]
    fn data_cannot_end_its_script() {
        let mut markup = Markup::default();
        markup.script("application/json", Some("data"), r#"{"a":"</script>&"}"#);
        assert_eq!(
            markup.finish(),
            "<script type=\"application/json\" id=\"data\">{\"a\":\"\\u003c/script\\u003e\\u0026\"}</script>\n"
        );
    }
}
