//! `submitd run`: the daemon, its signals and what systemd is told.

use super::exit;
use crate::app::{App, Inherited};
use crate::config::{Config, LogFormat};
use crate::observe::log;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What `run` takes.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs until a signal ends it. 0 after a clean stop, 78 where the configuration is wrong, 75 where the
/// store or an address is not to be had now, 1 where work was abandoned at the end or the queue broke.
pub fn run(file: Option<&Path>, _args: &Args) -> ExitCode {
    let config = match super::load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(error) = log::start(shape(config.log.format), &config.log.level) {
        return exit::fail(exit::CONFIG, error);
    }
    super::with_runtime(serve(config, file))
}

fn shape(format: LogFormat) -> log::Shape {
    match format {
        LogFormat::Auto => log::Shape::Auto,
        LogFormat::Json => log::Shape::Json,
        LogFormat::Text => log::Shape::Text,
    }
}

async fn serve(config: Config, file: Option<&Path>) -> ExitCode {
    let mut signals = match Signals::register() {
        Ok(signals) => signals,
        Err(error) => return exit::fail(exit::TEMPORARY, format!("signals: {error}")),
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let mut app = match App::start(config, inherited_sockets()).await {
        Ok(app) => app,
        Err(error) => {
            if !tracing::enabled!(tracing::Level::ERROR) {
                return exit::fail(exit::TEMPORARY, error);
            }
            tracing::error!("{error}");
            return ExitCode::from(exit::TEMPORARY);
        }
    };
    signals.heard_from_now_on();
    tell(&[NotifyState::Ready, NotifyState::Status(&app.status())]);
    let mut watchdog = Watchdog::new();
    let mut is_broken = false;
    loop {
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::Reload => reload(&mut app, file).await,
                Wish::Stop => break,
            },
            () = watchdog.due() => watchdog.feed(app.alive()),
            () = app.broken() => {
                tracing::error!("the queue's writer broke off inside submitd, which therefore ends; what was \
                     accepted is safe. Please report this");
                is_broken = true;
                break;
            }
        }
    }
    tell(&[NotifyState::Stopping]);
    if app.stop().await && !is_broken { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) }
}

/// All or nothing: a configuration with a mistake changes nothing.
async fn reload(app: &mut App, file: Option<&Path>) {
    if let Ok(reloading) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, reloading]);
    }
    match super::read(file) {
        Ok(config) => {
            let level = config.log.level.clone();
            for warning in &config.warnings {
                tracing::warn!("{warning}");
            }
            match app.reload(config).await {
                Ok(()) => {
                    if let Err(error) = log::set_filter(&level) {
                        tracing::error!("{error}");
                    }
                    tracing::info!("configuration reloaded");
                }
                Err(error) => {
                    tracing::error!(%error, "reload refused, the old configuration stays")
                }
            }
        }
        Err(problems) => {
            for problem in &problems.0 {
                tracing::error!("{problem}");
            }
            tracing::error!("reload refused, the old configuration stays");
        }
    }
    tell(&[NotifyState::Ready, NotifyState::Status(&app.status())]);
}

/// Sockets of systemd's socket activation; none where there is none.
fn inherited_sockets() -> Vec<Inherited> {
    let mut given = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..given.len() {
        // One that is not of the kind asked for stays where it is.
        if let Ok(Some(socket)) = given.take_tcp_listener(index) {
            sockets.push(Inherited::Tcp(socket));
        } else if let Ok(Some(socket)) = given.take_unix_listener(index) {
            sockets.push(Inherited::Unix(socket));
        } else {
            tracing::warn!(index, "systemd gave a socket that is neither TCP nor a Unix stream");
        }
    }
    sockets
}

/// Without systemd there is nobody to tell, which is no error.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}

/// Tells systemd we are alive as long as delivery loop and queue are: their beat is passed on, their silence too.
struct Watchdog {
    bound: Option<Duration>,
    ticks: tokio::time::Interval,
}

impl Watchdog {
    /// As WATCHDOG_USEC asks (sd_watchdog_enabled(3)).
    fn new() -> Self {
        let bound = sd_notify::watchdog_enabled();
        let pause = bound.map_or(Duration::from_secs(3_600), |bound| bound / 4);
        Self { bound, ticks: tokio::time::interval(pause.max(Duration::from_millis(50))) }
    }

    async fn due(&mut self) {
        self.ticks.tick().await;
    }

    /// `alive`: when delivery loop and queue last showed that they live.
    fn feed(&self, alive: std::time::Instant) {
        let Some(bound) = self.bound else { return };
        // The loop beats every second; a bound below that is only asked for in trials.
        if alive.elapsed() < bound.max(Duration::from_secs(5)) {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!("delivery loop or queue hangs; systemd will start submitd anew");
        }
    }
}

/// What a signal asks for.
enum Wish {
    Reload,
    Stop,
}

/// SIGTERM and SIGINT stop, SIGHUP reloads.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
    starting: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
}

impl Signals {
    /// A SIGTERM or SIGINT during the start, which may wait for a disk, and the second one afterwards end the
    /// process inside the signal's own context, so that even a stuck runtime cannot hold it. A start leaves
    /// nothing undone.
    fn register() -> std::io::Result<Self> {
        let starting = Arc::new(AtomicBool::new(true));
        let stopping = Arc::new(AtomicBool::new(false));
        for number in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(number, 0, starting.clone())?;
            let code = i32::from(exit::FAILED);
            signal_hook::flag::register_conditional_shutdown(number, code, stopping.clone())?;
        }
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            starting,
            stopping,
        })
    }

    /// The start is over: what comes now is waited for by [`Signals::next`].
    fn heard_from_now_on(&self) {
        self.starting.store(false, Ordering::SeqCst);
    }

    async fn next(&mut self) -> Wish {
        let wish = tokio::select! {
            _ = self.hangup.recv() => Wish::Reload,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.terminate.recv() => Wish::Stop,
        };
        if matches!(wish, Wish::Stop) {
            self.stopping.store(true, Ordering::SeqCst);
            tracing::info!(
                "stopping: mail that has begun is finished; a second signal exits at once"
            );
        }
        wish
    }
}
