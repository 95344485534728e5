//! Loans whose bundle's holders were lost several times are tried in a process apart.
//!
//! A holder may be lost to a `kill -9`, a full machine, a Redis that was away: nothing of that is the loan's doing. What
//! ends a process that does nothing but process loans is, when it does so twice.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::failpoint::failpoint;
use crate::loan::{Category, Fault};
use crate::validate::Failure;

/// A loan takes microseconds. A process that says nothing for so long hangs at one.
const SILENT_MAX: Duration = Duration::from_secs(10);
/// The hidden flag of the binary that makes it try loans, from its standard input: for each its length (4 bytes) and its
/// body. It answers a byte for each that it has processed.
pub const FLAG: &str = "--try-loans";

/// Tries loans in processes of their own.
#[derive(Debug)]
pub(super) struct Isolation {
    binary: Option<PathBuf>,
}

/// How a process that tried loans has ended.
enum Trial {
    /// It has processed all of them, or nobody can say what it did.
    Harmless,
    /// It ended, or hung, after so many.
    Ended { after: usize, how: String },
}

impl Isolation {
    pub(super) fn new() -> Self {
        Self {
            binary: std::env::current_exe().ok(),
        }
    }

    /// Processes all bodies in a process apart. Answers for each what it did to that process, if it did so twice: the second
    /// time alone, since anybody may end a process once. Where no process can be started, nothing is held against a loan.
    pub(super) async fn try_apart(&self, bodies: &[&[u8]]) -> Vec<Option<Failure>> {
        let mut fates: Vec<Option<Failure>> = bodies.iter().map(|_| None).collect();
        let mut from = 0;
        while let Trial::Ended { after, .. } = self.run(&bodies[from..]).await {
            let suspect = from + after;
            if let Trial::Ended { how, .. } = self.run(&bodies[suspect..=suspect]).await {
                fates[suspect] = Some(poison(&how));
            }
            from = suspect + 1;
        }
        fates
    }

    async fn run(&self, bodies: &[&[u8]]) -> Trial {
        let (Some(binary), false) = (&self.binary, bodies.is_empty()) else {
            return Trial::Harmless;
        };
        let child = Command::new(binary)
            .arg(FLAG)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                tracing::warn!(%error, "loans cannot be tried apart");
                return Trial::Harmless;
            }
        };
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut stdin = stdin.expect("it is piped");
        let mut stdout = stdout.expect("it is piped");
        let tell = async move {
            for body in bodies {
                let mut told = BytesMut::with_capacity(4 + body.len());
                told.put_u32(body.len() as u32);
                told.put_slice(body);
                // A process that has ended reads nothing; how far it came is what counts.
                if stdin.write_all(&told).await.is_err() {
                    break;
                }
            }
            drop(stdin);
        };
        let hear = async {
            let (mut after, mut answers) = (0, [0; 256]);
            loop {
                match tokio::time::timeout(SILENT_MAX, stdout.read(&mut answers)).await {
                    Ok(Ok(len @ 1..)) => after += len,
                    Ok(_) => return (after, child.wait().await.ok()),
                    Err(_) => return (after, None),
                }
            }
        };
        let (after, ended) = {
            let (mut tell, mut hear) = (std::pin::pin!(tell), std::pin::pin!(hear));
            tokio::select! {
                heard = &mut hear => heard,
                () = &mut tell => hear.await,
            }
        };
        let how = match ended {
            _ if after >= bodies.len() => return Trial::Harmless,
            Some(status) if status.success() => return Trial::Harmless,
            Some(status) => format!("a process that tried it ended: {status}"),
            None => format!(
                "its processing did not end within {} s",
                SILENT_MAX.as_secs()
            ),
        };
        Trial::Ended { after, how }
    }
}

/// The failure of a loan that cannot be processed.
pub(super) fn poison(what_happened: &str) -> Failure {
    Failure {
        category: Category::Poison,
        faults: vec![Fault {
            field: "$".into(),
            rule: "can be processed".into(),
            category: Category::Poison,
            value: what_happened.to_owned(),
        }],
        applicant_email: None,
    }
}

/// The other side: processes each body that comes on standard input, and ends as that ends.
pub fn try_loans() -> ExitCode {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut len = [0; 4];
    while input.read_exact(&mut len).is_ok() {
        let mut body = vec![0; u32::from_be_bytes(len) as usize];
        if input.read_exact(&mut body).is_err() {
            break;
        }
        failpoint!("try-loan");
        // Whether it is a good loan is decided later, by the worker.
        drop(super::judge(&body));
        if output
            .write_all(&[0])
            .and_then(|()| output.flush())
            .is_err()
        {
            break;
        }
    }
    ExitCode::SUCCESS
}
