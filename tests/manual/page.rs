//! Writes the manual's pages: `submitd.1` from the grammar of the command line, `submitd.toml.5` from
//! docs/configuration.md, the tables of docs/troubleshooting.md from the rows of `diagnosis`.

use clap_mangen::Man;
use std::fmt::Write as _;
use submitd::check;
use submitd::config::Account;
use submitd::diagnosis::exchange::{self, Codes};
use submitd::diagnosis::{entra, fill, token};

/// What holds for every command.
const EVERYWHERE: &str = r#".SH OPTIONS
.TP
\fB\-\-config\fR <FILE>
The configuration file. Without it \fI/etc/submitd/submitd.toml\fR is read, and where that does not exist the environment alone.
.TP
\fB\-h\fR, \fB\-\-help\fR
What a command does and takes.
.TP
\fB\-V\fR, \fB\-\-version\fR
The version.
"#;

/// What the grammar does not know.
const FURTHER: &str = r#".SH SIGNALS
.TP
SIGTERM, SIGINT
Doors close, mail that has begun is finished within \fIdrain_timeout\fR, the store is closed. A second one
exits at once; what it cuts off is safe in the queue.
.TP
SIGHUP
The configuration is read again: all of it, or, where it holds a mistake, nothing.
.SH EXIT STATUS
.TP
0
Done.
.TP
1
It did not work; after a stop: something was cut off and is in the queue.
.TP
2
It works, and something waits for a person (\fBsubmitd status\fR).
.TP
64
The command line is wrong.
.TP
69
The daemon is not there.
.TP
75
Not now: address taken, store held by another process, disk; of \fBcheck\fR: only what passes by itself broke.
.TP
77
This user may not.
.TP
78
The configuration is wrong.
.SH ENVIRONMENT
Every key of the configuration can be given as a variable, \fBSUBMITD_QUEUE__EXPIRE\fR for \fIexpire\fR in
\fI[queue]\fR; see \fBsubmitd.toml\fR(5). \fBSUBMITD_CONFIG\fR names the file.
.SH FILES
.TP
/etc/submitd/submitd.toml
The configuration, see \fBsubmitd.toml\fR(5).
.TP
/var/lib/submitd, ~/.local/state/submitd
Queue and tokens, of root and of other users, unless \fBSTATE_DIRECTORY\fR or \fIstate_dir\fR names another.
.TP
/run/submitd/admin.sock
Where \fBsubmitd status\fR, \fBqueue\fR and \fBaccount\fR reach the daemon of the systemd unit; of others it is
\fIadmin.sock\fR in the state directory, unless \fIsocket\fR in \fI[admin]\fR names another.
.SH EXAMPLES
.TP
submitd demo
Sees it work, without a tenant and without a configuration.
.TP
submitd check && submitd run
Walks every step to the login of every account, then starts.
.TP
submitd send ann@example.org
Sends a test mail through the running daemon.
.TP
submitd queue retry \-\-account erp
Tries all mail of an account now, after it was mended.
.SH SEE ALSO
\fBsubmitd.toml\fR(5), \fBswaks\fR(1), \fBsystemctl\fR(1)
"#;

/// `submitd(1)`.
pub fn command() -> String {
    let mut grammar = submitd::cli::grammar();
    grammar.build();
    let mut octets = Vec::new();
    let man = Man::new(grammar.clone()).manual("submitd").source(String::new()).date(String::new());
    man.render_title(&mut octets).expect("title");
    man.render_name_section(&mut octets).expect("name");
    man.render_synopsis_section(&mut octets).expect("synopsis");
    let mut page = String::from_utf8(octets).expect("UTF-8");
    page.push_str(
        ".SH DESCRIPTION\nA local SMTP submission proxy. It listens on localhost port 2525, takes mail from programs that\n\
         know nothing of OAuth2, puts it on the disk before it answers 250, and relays it to Exchange Online\n\
         with \\fBAUTH XOAUTH2\\fR over verified TLS, getting and renewing the tokens itself.\n\
         .SH COMMANDS\n",
    );
    for verb in grammar.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let below: Vec<_> =
            verb.get_subcommands().filter(|verb| verb.get_name() != "help").collect();
        for verb in if below.is_empty() { vec![verb] } else { below } {
            one(&mut page, verb);
        }
    }
    page.push_str(EVERYWHERE);
    page.push_str(FURTHER);
    page
}

/// One command: its line, what it does, what it takes.
fn one(page: &mut String, verb: &clap::Command) {
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(page, ".SS {}\n{}.", troff(usage), troff(&about));
    let mut octets = Vec::new();
    // `--config` and `--help` are said once.
    let own = verb.clone().mut_args(|argument| {
        let is_common = ["config", "help", "version"].contains(&argument.get_id().as_str());
        argument.hide(is_common)
    });
    let man = Man::new(own.disable_help_flag(true).disable_version_flag(true));
    man.render_options_section(&mut octets).expect("options");
    let options = String::from_utf8(octets).expect("UTF-8");
    // Its first lines are preamble and heading.
    let from = options.find(".SH OPTIONS\n").map_or(options.len(), |at| at + ".SH OPTIONS\n".len());
    page.push_str(&options[from..]);
}

/// A text that troff shows as it is.
fn troff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// Markdown's inline marks: code and emphasis become bold, links their text.
fn inline(text: &str) -> String {
    let mut out = String::new();
    let mut is_bold = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let link =
            rest.split_once("](").and_then(|(name, after)| Some((name, after.split_once(')')?.1)));
        match (c, link) {
            ('`', _) => {
                is_bold = !is_bold;
                out.push_str(if is_bold { "\\fB" } else { "\\fR" });
            }
            ('*', _) if !is_bold => {}
            ('[', Some((name, after))) if !is_bold && !name.contains('[') => {
                out.push_str(&inline(name));
                rest = after;
            }
            (c, _) => out.push_str(&troff(&c.to_string()).replace("\\&", "")),
        }
    }
    if out.starts_with(['.', '\'']) { format!("\\&{out}") } else { out }
}

/// `submitd.toml(5)`, from the Markdown of the manual.
pub fn configuration(manual: &str) -> String {
    let mut page = String::from(
        ".TH submitd.toml 5 \"\" \"\" \"submitd\"\n.SH NAME\nsubmitd.toml \\- configuration of submitd\n.SH DESCRIPTION\n",
    );
    let mut is_code = false;
    for line in manual.lines().skip(1) {
        if line.starts_with("```") {
            is_code = !is_code;
            page.push_str(if is_code { ".nf\n" } else { ".fi\n" });
        } else if is_code {
            let _ = writeln!(page, "{}", troff(line));
        } else if let Some(heading) = line.strip_prefix("### ") {
            let _ = writeln!(page, ".SS {}", inline(heading));
        } else if let Some(heading) = line.strip_prefix("## ") {
            let _ = writeln!(page, ".SH {}", inline(heading));
        } else if let Some(row) = line.strip_prefix("| ") {
            page.push_str(&table_row(row.trim_end_matches(" |")));
        } else if let Some(point) = line.strip_prefix("* ") {
            let _ = writeln!(page, ".IP \\(bu 2\n{}", inline(point));
        } else if line.is_empty() {
            page.push_str(".PP\n");
        } else if !line.starts_with('|') {
            let _ = writeln!(page, "{}", inline(line));
        }
    }
    page.push_str(".SH SEE ALSO\n\\fBsubmitd\\fR(1)\n");
    page
}

fn table_row(row: &str) -> String {
    let cells: Vec<String> = row.split(" | ").map(inline).collect();
    match &cells[..] {
        [key, ..] if key == "key" => String::new(),
        [key, meaning, range, default] => {
            format!(".TP\n{key}\n{meaning} Range: {range}. Default: {default}.\n")
        }
        [key, variable] => format!(".TP\n{key}\n{variable}\n"),
        _ => panic!("a table of two or four columns: {row}"),
    }
}

const NAMES: [(&str, &str); 9] = [
    ("account", "erp"),
    ("mailbox", "erp@contoso.com"),
    ("client_id", "<client id>"),
    ("tenant", "<tenant>"),
    ("audience", "<audience>"),
    ("roles", "<roles>"),
    ("user", "<user>"),
    ("object_id", "<object id>"),
    ("token_tenant", "<tenant of the token>"),
];

/// Every reply of a mail server that is known, as a table.
pub fn replies() -> String {
    let mut table = String::from("| reply | means | what to do |\n|---|---|---|\n");
    for row in exchange::ROWS {
        let mut reply = Vec::new();
        if !row.reply.is_empty() {
            let codes: Vec<_> = row.reply.iter().map(ToString::to_string).collect();
            reply.push(format!("`{}`", codes.join("` `")));
        }
        match row.enhanced {
            Codes::Any => {}
            Codes::Is(a, b, c) => reply.push(format!("`{a}.{b}.{c}`")),
            Codes::Within(a, b, c, d) if c == d => reply.push(format!("`{a}.{b}.{c}`")),
            Codes::Within(a, b, c, d) => reply.push(format!("`{a}.{b}.{c}` to `{a}.{b}.{d}`")),
        }
        reply.extend(row.text.iter().map(|text| format!("“{text}”")));
        let [meaning, remedy] = [row.meaning, row.remedy].map(cell);
        let _ = writeln!(table, "| {} | {meaning} | {remedy} |", reply.join(" "));
    }
    table
}

/// Every AADSTS number that is known, as a table.
pub fn numbers() -> String {
    let mut table = String::from("| AADSTS | means | what to do |\n|---|---|---|\n");
    for row in entra::ROWS {
        let codes: Vec<_> = row.codes.iter().map(ToString::to_string).collect();
        let [meaning, remedy] = [row.meaning, row.remedy].map(cell);
        let _ = writeln!(table, "| {} | {meaning} | {remedy} |", codes.join(", "));
    }
    table
}

/// Everything that a token's words may give away, as a table.
pub fn tokens() -> String {
    let mut table = String::from("| noticed | means | what to do |\n|---|---|---|\n");
    for row in token::ROWS {
        let [meaning, remedy] = [row.meaning, row.remedy].map(cell);
        let _ = writeln!(table, "| {} | {meaning} | {remedy} |", row.name);
    }
    table
}

/// What `submitd check --setup` prints, as it is printed.
pub fn setup(account: &Account) -> String {
    format!("```text\n{}```\n", check::setup::text(account, None))
}

/// A text in a cell of a table: `<` would begin HTML there, `|` a cell.
fn cell(text: &str) -> String {
    fill(text, &NAMES).replace('<', "&lt;").replace('|', "\\|")
}

/// The text with what stands between `<!-- name -->` and `<!-- end -->` replaced.
pub fn replaced(text: &str, name: &str, table: &str) -> String {
    let mark = format!("<!-- {name} -->\n");
    let (before, rest) = text.split_once(&mark).unwrap_or_else(|| panic!("no {mark}"));
    let (_, after) = rest.split_once("<!-- end -->").expect("<!-- end -->");
    format!("{before}{mark}\n{table}\n<!-- end -->{after}")
}
