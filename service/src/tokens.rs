//! Tokens with a name and a role, in a file that holds their hashes: `NAME ROLE sha256:HEX`, one a line.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::files;
use crate::http::admin::AdminToken;

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// The largest file that is read.
const FILE_LEN_MAX: u64 = 1024 * 1024;
/// The longest name.
const NAME_LEN_MAX: usize = 64;
/// The name of whoever has the administrator's token. In a file nobody has it: what was done by whom must be told.
pub(crate) const ADMINISTRATOR: &str = "administrator";
/// What precedes a hash.
const ALGORITHM: &str = "sha256:";

/// What the holder of a token may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum TokenRole {
    /// See everything.
    Viewer,
    /// See and change everything.
    Operator,
}

impl TokenRole {
    /// As the file and messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name in the file.
    pub name: String,
    /// What it may do.
    pub role: TokenRole,
}

/// The tokens of a file.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<watch::Sender<Vec<Known>>>);

/// Hears that tokens have changed.
#[derive(Debug)]
pub(crate) struct Changes(watch::Receiver<Vec<Known>>);

impl Changes {
    /// Returns when they have changed since it was asked last.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody reads the file any more.
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Clone, Debug)]
struct Known {
    identity: Identity,
    hash: [u8; 32],
}

impl Tokens {
    /// Reads a file, and reads it again whenever it has changed. A change that cannot be read leaves the tokens as they
    /// are, and is logged.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub async fn follow(file: &Path) -> Result<Self, String> {
        let text = read(file.to_owned()).await?;
        let known = known(&text).map_err(|why| format!("{}: {why}", file.display()))?;
        tell_if_none(&known);
        let tokens = Self(Arc::new(watch::Sender::new(known)));
        crate::task::spawn("tokens", keep(tokens.clone(), file.to_owned(), text));
        Ok(tokens)
    }

    /// The tokens of a file that holds `text`.
    ///
    /// # Errors
    /// The first line that is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        known(text).map(|known| Self(Arc::new(watch::Sender::new(known))))
    }

    /// Hears of changes from now on.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.0.subscribe())
    }

    /// What somebody of this name may do, who has a token.
    pub(crate) fn role_of(&self, name: &str) -> Option<TokenRole> {
        let known = self.0.borrow();
        let found = known.iter().find(|known| known.identity.name == name);
        found.map(|known| known.identity.role)
    }

    /// Whose token this is.
    pub(crate) fn find(&self, token: &[u8]) -> Option<Identity> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        let known = self.0.borrow();
        let mut found = None;
        // All of them, so that the time tells nothing.
        for known in known.iter() {
            if bool::from(known.hash.ct_eq(&hash)) {
                found = Some(&known.identity);
            }
        }
        found.cloned()
    }
}

/// A new token, and its line for the file.
///
/// # Errors
/// When nobody can have that name.
pub fn make(name: &str, role: TokenRole) -> Result<(String, String), String> {
    check_name(name)?;
    let token = AdminToken::random().expose().to_owned();
    let line = format!("{name} {} {}", role.name(), hash(token.as_bytes()));
    Ok((token, line))
}

/// A token's hash, as the file holds it. Tokens are made of 244 random bits, so none need be slow.
pub fn hash(token: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(token).into();
    digest.iter().fold(ALGORITHM.to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

async fn keep(tokens: Tokens, file: PathBuf, mut text: String) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let now = match read(file.clone()).await {
            Ok(now) if now == text => continue,
            Ok(now) => now,
            Err(why) => {
                tracing::warn!("the file of tokens stays as it was: {why}");
                continue;
            }
        };
        match known(&now) {
            Ok(known) => {
                tracing::info!(tokens = known.len(), "the file of tokens was read again");
                tell_if_none(&known);
                tokens.0.send_replace(known);
            }
            Err(why) => tracing::warn!("the file of tokens stays as it was: {why}"),
        }
        text = now;
    }
}

fn tell_if_none(known: &[Known]) {
    if known.is_empty() {
        tracing::warn!(
            "the file of tokens holds none: but for the administrator nobody can log in or read"
        );
    }
}

async fn read(file: PathBuf) -> Result<String, String> {
    let reading = tokio::task::spawn_blocking(move || {
        let bytes = files::read(&file, FILE_LEN_MAX)?;
        String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", file.display()))
    });
    reading.await.unwrap_or_else(|error| Err(error.to_string()))
}

fn known(text: &str) -> Result<Vec<Known>, String> {
    let mut all: Vec<Known> = Vec::new();
    // Some editors put a byte order mark before a text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let words: Vec<_> = line.split_whitespace().collect();
        if words.first().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        let at = |why: &str| format!("line {}: {why}", index + 1);
        let [name, role, hash] = words[..] else {
            return Err(at(
                "write NAME, viewer or operator, and the hash that `service token NAME` prints",
            ));
        };
        check_name(name).map_err(|why| at(&why))?;
        if all.iter().any(|known| known.identity.name == name) {
            return Err(at("this name stands twice"));
        }
        let role = TokenRole::from_str(role, false)
            .map_err(|_| at("the role must be viewer or operator"))?;
        let hash = hash
            .strip_prefix(ALGORITHM)
            .and_then(from_hex)
            .ok_or_else(|| at("the hash must be sha256: and 64 hexadecimal digits"))?;
        if hash == <[u8; 32]>::from(Sha256::digest(b"")) {
            return Err(at("this is the hash of nothing, and no token"));
        }
        if all.iter().any(|known| known.hash == hash) {
            return Err(at(
                "this hash stands twice: each name has a token of its own",
            ));
        }
        all.push(Known {
            identity: Identity {
                name: name.to_owned(),
                role,
            },
            hash,
        });
    }
    Ok(all)
}

fn check_name(name: &str) -> Result<(), String> {
    let is_good = (1..=NAME_LEN_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte));
    if name == ADMINISTRATOR {
        Err("the name administrator is that of SLUICE_ADMIN_TOKEN's holder".to_owned())
    } else if is_good {
        Ok(())
    } else {
        Err("a name has 1 to 64 characters of A-Z a-z 0-9 . _ @ -".to_owned())
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_known() {
        let (token, line) = make("ada", TokenRole::Operator).unwrap();
        assert!(!line.contains(&token), "the file holds no token");
        let tokens = Tokens::parse(&format!("# people\n\n{line}\n")).unwrap();
        let ada = Identity {
            name: "ada".to_owned(),
            role: TokenRole::Operator,
        };
        assert_eq!(tokens.find(token.as_bytes()), Some(ada));
        assert_eq!(tokens.find(b"another"), None);
        assert_eq!(tokens.find(line.as_bytes()), None);
        assert_ne!(make("ada", TokenRole::Operator).unwrap().0, token);
    }

    #[test]
    fn a_wrong_line_is_told_by_its_number() {
        let good = make("ada", TokenRole::Viewer).unwrap().1;
        assert!(Tokens::parse(&format!("\u{feff}{good}\r\n")).is_ok());
        for (line, why) in [
            ("grace", "NAME"),
            ("grace operator", "NAME"),
            ("grace king sha256:00", "role"),
            ("grace operator sha256:00", "hash"),
            ("grace operator md5:0000", "hash"),
            ("gr/ace operator sha256:00", "name"),
            ("administrator operator sha256:00", "SLUICE_ADMIN_TOKEN"),
            (&format!("grace operator {}", hash(b"")), "hash of nothing"),
            (&good, "twice"),
        ] {
            let error = Tokens::parse(&format!("{good}\n{line}\n")).unwrap_err();
            assert!(
                error.starts_with("line 2: ") && error.contains(why),
                "{error}"
            );
        }
        assert!(make("", TokenRole::Viewer).is_err());
        assert!(make("two words", TokenRole::Viewer).is_err());
    }
}
