//! The log: text on a terminal, one JSON object a line on request, journald's priorities under systemd.
//!
//! A mail's life is told by lines that carry its queue id in the field `id`. No line holds a secret, a
//! token, a subject or a body: see `redact` and `crate::secret`. What the libraries under us say is no part
//! of that promise (at `trace` an HTTP library may tell what it sends), so below `warn` they are not heard,
//! whatever the level. Tests look for secrets in what they say all the same: a development build lets them
//! through where [`HEAR_LIBRARIES`] is set, a release build has no such door.

use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterFn, Targets};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Shape of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text with time; colours on a terminal; journald's way where standard error goes there.
    Auto,
    /// One JSON object a line.
    Json,
    /// Text with time.
    Text,
}

/// The variable that lets a development build hear the libraries.
pub const HEAR_LIBRARIES: &str = "SUBMITD_TEST_LIBRARIES";

type Filter = reload::Handle<Targets, tracing_subscriber::Registry>;
static FILTER: OnceLock<Filter> = OnceLock::new();

/// Starts the log on standard error; called once, later calls change nothing.
///
/// # Errors
/// Where `filter` is no level and no filter.
pub fn start(shape: Shape, filter: &str) -> Result<(), String> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    // A log disk that is full or a closed pipe must not stop mail: such errors are not reported again,
    // since reporting them would go to the same place (and panic there).
    let layer =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let terminal = std::io::stderr().is_terminal();
    let registry = tracing_subscriber::registry().with(filter).with(heard(hears_libraries()));
    let started = match shape {
        Shape::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        Shape::Auto if !terminal && goes_to_journal() => {
            registry.with(layer.with_ansi(false).event_format(Journal::default())).try_init()
        }
        Shape::Auto | Shape::Text => {
            registry.with(layer.with_ansi(terminal).with_target(false)).try_init()
        }
    };
    if started.is_ok() {
        let _ = FILTER.set(handle);
    }
    Ok(())
}

/// Changes the level of a running log.
///
/// # Errors
/// Where `filter` is no level and no filter; the old one stays.
pub fn set_filter(filter: &str) -> Result<(), String> {
    let parsed = parse(filter)?;
    match FILTER.get() {
        Some(handle) => handle.reload(parsed).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}

fn hears_libraries() -> bool {
    cfg!(debug_assertions) && std::env::var_os(HEAR_LIBRARIES).is_some()
}

/// Lets our own lines pass, and of others' the warnings and errors; `all` of them where that is asked for.
fn heard(all: bool) -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    tracing_subscriber::filter::filter_fn(move |line| {
        let is_ours = || line.target().split("::").next() == Some("submitd");
        all || *line.level() <= Level::WARN || is_ours()
    })
}

/// `info`, or `info,submitd::smtp=debug`.
fn parse(filter: &str) -> Result<Targets, String> {
    let parts: Vec<&str> = filter.split(',').map(str::trim).collect();
    parts.join(",").parse().map_err(|error| format!("log level {filter:?}: {error}"))
}

/// systemd sets JOURNAL_STREAM where standard error or output is the journal (systemd.exec(5)).
fn goes_to_journal() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some()
}

/// A line as journald likes it: priority in front (sd-daemon(3)), no time, no colours.
struct Journal(Format<tracing_subscriber::fmt::format::Full, ()>);

impl Default for Journal {
    fn default() -> Self {
        Self(Format::default().without_time().with_level(false).with_target(false))
    }
}

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        writer.write_str(priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex, PoisonError};

    #[test]
    fn a_wrong_level_is_refused() {
        assert!(parse("info").is_ok());
        assert!(parse("info,submitd::smtp=debug").is_ok());
        assert!(parse("submitd=loud").is_err());
        let spaced = parse(" info, submitd::smtp=debug").map(|filter| filter.to_string());
        assert_eq!(spaced, parse("info,submitd::smtp=debug").map(|filter| filter.to_string()));
    }

    #[test]
    fn libraries_are_heard_from_warnings_up_and_ourselves_always() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .without_time()
            .with_writer(move || Sink(sink.clone()));
        let registry = tracing_subscriber::registry()
            .with(parse("trace,hyper=trace").expect("filter"))
            .with(heard(false))
            .with(layer);
        tracing::subscriber::with_default(registry, || {
            tracing::trace!(target: "submitd::smtp", "ours");
            tracing::debug!(target: "hyper::client", "theirs");
            tracing::info!(target: "submitdish", "theirs too");
            tracing::warn!(target: "rustls", "urgent");
        });
        let lines = lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8_lossy(&lines).into_owned();
        assert_eq!(text, "TRACE submitd::smtp: ours\n WARN rustls: urgent\n");
    }

    #[test]
    fn journald_gets_priorities_and_no_time() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .event_format(Journal::default())
            .with_writer(move || Sink(sink.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(id = "x1", "delivery deferred");
        });
        let lines = lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(String::from_utf8_lossy(&lines), "<4>delivery deferred id=\"x1\"\n");
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
