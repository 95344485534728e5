//! Pieces that many parts of the page use: sections, tables, lists.

use crate::markup::{Attributes, Markup};
use record::number::count;

/// A part of the page: its heading, what it is about, and what is in it.
pub(crate) fn section(
    markup: &mut Markup,
    id: &str,
    title: &str,
    lead: &str,
    inside: impl FnOnce(&mut Markup),
) {
    let heading = format!("{id}-title");
    markup.element(
        "section",
        &[("id", &id), ("aria-labelledby", &heading)],
        |markup| {
            markup.leaf("h2", &[("id", &heading)], title);
            if !lead.is_empty() {
                markup.leaf("p", &[("class", &"lead")], lead);
            }
            inside(markup);
        },
    );
}

/// The first sentence of a page, behind a sign that says the verdict to those who see it.
pub(crate) fn headline(markup: &mut Markup, sign: &str, text: &str) {
    markup.element("h1", &[], |markup| {
        markup.leaf(
            "span",
            &[("class", &"sign"), ("aria-hidden", &"true")],
            sign,
        );
        markup.text(text);
    });
}

/// The reasons for the first sentence.
pub(crate) fn why(markup: &mut Markup, reasons: impl IntoIterator<Item = impl AsRef<str>>) {
    markup.element("ul", &[("class", &"why")], |markup| {
        for reason in reasons {
            markup.leaf("li", &[], reason.as_ref());
        }
    });
}

/// A block of text as it is.
pub(crate) fn code_block(markup: &mut Markup, text: &str, name: &str) {
    markup.element(
        "pre",
        &[
            ("tabindex", &"0"),
            ("role", &"region"),
            ("aria-label", &name),
        ],
        |markup| {
            markup.leaf("code", &[], text);
        },
    );
}

/// Names and values under a title.
pub(crate) fn list(markup: &mut Markup, title: &str, rows: &[(&str, String)]) {
    markup.element("div", &[], |markup| {
        markup.leaf("h3", &[], title);
        markup.element("dl", &[("class", &"list")], |markup| {
            for (name, value) in rows {
                markup.element("div", &[], |markup| {
                    markup.leaf("dt", &[], name);
                    markup.leaf("dd", &[], value);
                });
            }
        });
    });
}

/// Says that there is nothing to show, and why.
pub(crate) fn no_data(markup: &mut Markup, text: &str) {
    markup.leaf("p", &[("class", &"nodata")], text);
}

/// A cell of a table: its text and its class.
pub(crate) struct Cell {
    text: String,
    class: &'static str,
}

impl Cell {
    pub(crate) fn of(text: &str, class: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            class,
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, class: "" }
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        Self::of(text, "")
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::of(text, "")
    }
}

/// A count that should be 0, marked when it is not.
pub(crate) fn marked(value: u64) -> Cell {
    if value == 0 {
        Cell::from("0")
    } else {
        Cell {
            text: format!("✗ {}", count(value)),
            class: "bad",
        }
    }
}

/// A table. The first `words` columns hold words, the others figures. It scrolls by itself on a narrow page.
pub(crate) fn table(
    markup: &mut Markup,
    caption: &str,
    columns: &[&str],
    words: usize,
    rows: impl IntoIterator<Item = Vec<Cell>>,
) {
    let scroll: Attributes = &[
        ("class", &"scroll"),
        ("tabindex", &"0"),
        ("role", &"region"),
        ("aria-label", &caption),
    ];
    markup.element("div", scroll, |markup| {
        let class = if columns.len() > 4 { "wide-table" } else { "" };
        markup.element("table", &[("class", &class)], |markup| {
            markup.leaf("caption", &[], caption);
            markup.element("thead", &[], |markup| {
                markup.element("tr", &[], |markup| {
                    for (index, column) in columns.iter().enumerate() {
                        let class = if index < words { "" } else { "figure" };
                        markup.leaf("th", &[("scope", &"col"), ("class", &class)], column);
                    }
                });
            });
            markup.element("tbody", &[], |markup| {
                for row in rows {
                    markup.element("tr", &[], |markup| {
                        for (index, cell) in row.iter().enumerate() {
                            let figure = if index < words { "" } else { " figure" };
                            let class = format!("{}{figure}", cell.class);
                            if index == 0 {
                                let attributes: Attributes =
                                    &[("scope", &"row"), ("class", &class)];
                                markup.element("th", attributes, |markup| markup.name(&cell.text));
                            } else {
                                markup.leaf("td", &[("class", &class)], &cell.text);
                            }
                        }
                    });
                }
            });
        });
    });
}
