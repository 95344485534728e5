//! `GET /` and below it: the dashboard's files, which `build.rs` has put into the binary.

use bytes::Bytes;
use hyper::header::{ACCEPT_ENCODING, HeaderMap};

use super::Reply;
use super::response::{self, PageHead};

/// One file of the dashboard, as it is and compressed.
struct Page {
    path: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

static PAGES: &[Page] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Where a request's path names a file of the dashboard: that file.
pub(super) fn find(path: &str, headers: &HeaderMap) -> Option<Reply> {
    let path = if path == "/" { "/index.html" } else { path };
    let page = PAGES.iter().find(|page| page.path == path)?;
    let accepted = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let accepted: Vec<&str> = accepted.flat_map(|value| value.split(',')).collect();
    let (encoding, body) = match (page.brotli, page.gzip) {
        (Some(brotli), _) if accepts(&accepted, "br") => (Some("br"), brotli),
        (_, Some(gzip)) if accepts(&accepted, "gzip") => (Some("gzip"), gzip),
        _ => (None, page.plain),
    };
    let head = PageHead {
        content_type: content_type(path),
        encoding,
        // Vite puts a hash of the content into the names below /assets/.
        is_immutable: path.starts_with("/assets/"),
    };
    Some(response::page(&head, Bytes::from_static(body)))
}

/// Whether one of `Accept-Encoding`'s parts names the encoding and does not refuse it.
fn accepts(accepted: &[&str], encoding: &str) -> bool {
    accepted.iter().any(|part| {
        let (name, parameter) = part.split_once(';').unwrap_or((part, ""));
        let is_refused = parameter
            .trim()
            .strip_prefix("q=")
            .and_then(|weight| weight.trim().parse::<f32>().ok())
            .is_some_and(|weight| weight <= 0.0);
        name.trim().eq_ignore_ascii_case(encoding) && !is_refused
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{
        CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, HeaderValue, VARY,
    };

    use super::*;

    fn headers(accept_encoding: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept_encoding));
        headers
    }

    #[test]
    fn the_dashboard_is_there_and_nothing_else_is() {
        let reply = find("/", &HeaderMap::new()).expect("a page at /");
        assert_eq!(reply.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(reply.headers()[VARY], "accept-encoding");
        assert!(!reply.headers().contains_key(CONTENT_ENCODING));
        let policy = reply.headers()[CONTENT_SECURITY_POLICY]
            .to_str()
            .expect("ASCII");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        for path in [
            "",
            "/assets/",
            "/assets/../index.html",
            "/index.html.br",
            "/pages.rs",
        ] {
            assert!(find(path, &HeaderMap::new()).is_none(), "{path}");
        }
    }

    #[test]
    fn hashed_files_are_kept_for_ever_and_no_other_is() {
        for page in PAGES {
            let reply = find(page.path, &HeaderMap::new()).expect("it is in the table");
            let is_kept = reply.headers()[CACHE_CONTROL] != "no-store";
            assert_eq!(is_kept, page.path.starts_with("/assets/"), "{}", page.path);
        }
    }

    #[test]
    fn an_encoding_is_used_only_where_the_client_takes_it() {
        for (accept_encoding, expected) in [
            ("br", true),
            ("gzip, deflate, BR;q=0.5", true),
            ("gzip, br;q=0", false),
            ("brotli", false),
            ("", false),
        ] {
            let parts: Vec<_> = accept_encoding.split(',').collect();
            assert_eq!(accepts(&parts, "br"), expected, "{accept_encoding}");
        }
        for page in PAGES.iter().filter(|page| page.brotli.is_some()) {
            let reply = find(page.path, &headers("gzip, br")).expect("it is in the table");
            assert_eq!(reply.headers()[CONTENT_ENCODING], "br", "{}", page.path);
        }
    }
}
