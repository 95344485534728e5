//! The service's process: settings, log, runtime, signals, exit code.
//!
//! It stands in the library, since what a runtime drives is compiled where that runtime is entered: in the program it would be
//! compiled once more.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::time::Duration;

use crate::config::{Command, Config};
use crate::log;
use crate::printable::printable;
use crate::tokens::TokenRole;
use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

/// A probe waits this long.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// What a thread still waits for when all is done has this long.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Does what the command line says, until it is done or a signal ends it.
pub fn main() -> ExitCode {
    // A log that grows beyond a limit on files is an error of the write, and not the end of the process. While there is one thread.
    let beyond_limit = SigSet::from(Signal::SIGXFSZ);
    if let Err(error) = beyond_limit.thread_block() {
        return fail(&error);
    }
    // The allocator asks for huge pages, and then each touch of its sparse heap costs 2 MiB: an idle service takes
    // 31 MB instead of 14. Where the system refuses, only memory is lost.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_thp_disable(true);
    let config = match Config::read() {
        Ok(config) => config,
        Err(fault) => return refuse(&fault),
    };
    if config.openapi {
        return print(&crate::openapi());
    }
    if config.try_loans {
        #[cfg(feature = "failpoints")]
        let _crash_points = fail::FailScenario::setup();
        return crate::worker::isolation::try_loans();
    }
    if config.probe {
        return probe(&config);
    }
    match &config.command {
        Some(Command::Token { name, role }) => return make_token(name, *role),
        Some(Command::Forget { applicant }) => return forget(&config, applicant),
        None => {}
    }
    // Before the log is: it must not guess what it is to tell.
    if let Err(faults) = config.check() {
        return refuse(&faults);
    }
    log::start(config.log, &config.log_level);
    let unknown = Config::unknown_variables();
    if !unknown.is_empty() {
        let variables = unknown.join(", ");
        tracing::warn!(variables, "no setting has this name: it counts for nothing");
    }
    // Without this the crash points ignore `FAILPOINTS`.
    #[cfg(feature = "failpoints")]
    let _crash_points = fail::FailScenario::setup();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let ended = runtime.block_on(run(&config));
    // What a thread may still wait for does not hold the end up.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    log::finish();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    }
}

async fn run(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(log::keep_telling());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("draining");
        stop.send_replace(true);
        // A second signal does not wait for the drain.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("a second signal: the drain is cut short");
        log::finish();
        std::process::exit(1);
    });
    let listener = crate::bind(config).await?;
    crate::run(config, listener, stopping).await?;
    tracing::info!("drained");
    Ok(())
}

/// Forgets an applicant, and says what was done.
fn forget(config: &Config, applicant: &str) -> ExitCode {
    if let Err(faults) = config.check() {
        return refuse(&faults);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(crate::forget::forget(config, applicant)) {
        Ok(done) => {
            let (on_their_way, aside) = done.left;
            let told = print(&format!(
                "forgotten: data removed from {} loans and {} failures; {} failed loans that waited are discarded",
                done.records.loans, done.records.failures, done.discarded
            ));
            if on_their_way + aside == 0 {
                return told;
            }
            say(format!(
                "service: Redis still holds the address, in {on_their_way} bundles on their way and {aside} set aside: run it again when they are recorded, and remove what stands aside by hand"
            ));
            ExitCode::FAILURE
        }
        Err(error) => refuse(&error.to_string()),
    }
}

fn make_token(name: &str, role: TokenRole) -> ExitCode {
    match crate::tokens::make(name, role) {
        Ok((token, line)) => {
            say(format!(
                "the token of {name}, shown once: {token}\nIts line for the file of tokens, on standard output:"
            ));
            print(&on_a_line_of_its_own(&line))
        }
        Err(why) => refuse(&why),
    }
}

/// The line as it is to be written: a file that it is added to may not end with its last line's end.
fn on_a_line_of_its_own(line: &str) -> String {
    let about = std::io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|output| std::fs::File::from(output).metadata());
    match about {
        Ok(about) if about.is_file() && about.len() > 0 => format!("\n{line}"),
        _ => line.to_owned(),
    }
}

fn print(document: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{document}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Asks a service on this machine whether it is ready: for containers that have no other client.
fn probe(config: &Config) -> ExitCode {
    let first = config
        .listen
        .resolve()
        .map(|addresses| addresses.into_iter().next());
    let Ok(Some(mut address)) = first else {
        return refuse(&format!(
            "--listen (SLUICE_LISTEN): {} leads nowhere",
            config.listen
        ));
    };
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let ask = || -> std::io::Result<String> {
        let stream = TcpStream::connect_timeout(&address, PROBE_TIMEOUT)?;
        stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
        let Some(cert) = &config.tls_cert else {
            return question(stream, address);
        };
        let config = crate::tls::client_of(cert).map_err(std::io::Error::other)?;
        let name = address.ip().into();
        let connection = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
        question(StreamOwned::new(connection, stream), address)
    };
    match ask() {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => ExitCode::SUCCESS,
        Ok(answer) => {
            let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
            say(format!("service: {address} is not ready: {body}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            say(format!("service: {address} does not answer: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        source = cause.source();
    }
    refuse(&line)
}

/// Ends with one line that says why.
fn refuse(why: &str) -> ExitCode {
    // It may repeat what somebody has set.
    say(format!("service: {}", printable(why)));
    ExitCode::from(2)
}

/// Writes a line on standard error, where somebody takes it within a second.
fn say(line: String) {
    let (said, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = writeln!(std::io::stderr(), "{line}");
        let _ = said.send(());
    });
    let _ = done.recv_timeout(Duration::from_secs(1));
}

/// One question, one answer, over whatever stream.
fn question(mut stream: impl Read + Write, address: SocketAddr) -> std::io::Result<String> {
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
