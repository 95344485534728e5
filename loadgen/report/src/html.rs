//! `report.html`: one file that needs no network and no script, and `index.html`, the list of runs.
//!
//! The order is that of a reader's questions: did it hold, why, what was demanded, what became of everything, how fast
//! was it, what happened when, what went wrong, on what, and how to do it again.

mod index;
mod load;
mod outcome;
pub(crate) mod parts;
mod surroundings;
mod top;

use crate::live;
use crate::markup::Markup;
use crate::words::verdict;
use record::result::run::Report;

pub(crate) use index::{RunRow, Unreadable, render_index};

const SHEET: &str = include_str!("page.css");

/// A part of the page: the id of its section, its name in the navigation, and what writes it.
type Part = (&'static str, &'static str, fn(&mut Markup, &Report));

/// The parts, in order.
const PARTS: [Part; 13] = [
    ("checks", "Checks", outcome::checks),
    ("flow", "Flow", load::flow),
    ("latency", "Latency", load::latency),
    ("time", "Over time", load::timeline),
    ("heat", "Heat map", load::heatmap),
    ("phases", "Phases", load::phases),
    ("audit", "Audit", outcome::audit),
    ("errors", "Errors", outcome::errors),
    ("drain", "Drain", outcome::drain),
    ("trust", "Trust", surroundings::trust),
    ("machine", "Machine", surroundings::machine),
    ("settings", "Settings", surroundings::settings),
    ("words", "Words", surroundings::glossary),
];

/// The report as one HTML page.
pub fn render(report: &Report) -> String {
    let title = format!("{}: {}", verdict(report.verdict), report.scenario);
    let script = live::script();
    document(&title, script, |markup| {
        top::banner(markup, report);
        markup.element("nav", &[("aria-label", &"Parts of the report")], |markup| {
            for (id, name, _) in PARTS {
                markup.leaf("a", &[("href", &format!("#{id}"))], name);
            }
        });
        markup.element("main", &[], |markup| {
            top::figures(markup, report);
            for (_, _, part) in PARTS {
                part(markup, report);
            }
        });
        if !script.is_empty() {
            markup.script("application/json", Some("data"), &live::data(report));
            markup.script("text/javascript", None, script);
        }
    })
}

/// A page with our style sheet and without a script.
pub(crate) fn page(title: &str, body: impl FnOnce(&mut Markup)) -> String {
    document(title, "", body)
}

/// A page with our style sheet. It may load nothing, and run nothing but `script`.
fn document(title: &str, script: &str, body: impl FnOnce(&mut Markup)) -> String {
    let mut markup = Markup::default();
    markup.doctype();
    markup.element("html", &[("lang", &"en")], |markup| {
        markup.element("head", &[], |markup| {
            markup.empty("meta", &[("charset", &"utf-8")]);
            let policy = live::policy(script);
            let metas: [(&str, &str); 3] = [
                ("viewport", "width=device-width, initial-scale=1"),
                ("color-scheme", "light dark"),
                ("referrer", "no-referrer"),
            ];
            markup.empty(
                "meta",
                &[
                    ("http-equiv", &"Content-Security-Policy"),
                    ("content", &policy),
                ],
            );
            for (name, content) in metas {
                markup.empty("meta", &[("name", &name), ("content", &content)]);
            }
            markup.leaf("title", &[], title);
            markup.style(SHEET);
            if !script.is_empty() {
                markup.style(live::sheet());
            }
        });
        markup.element("body", &[], body);
    });
    markup.finish()
}
