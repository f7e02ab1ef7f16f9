//! `negotiate-auth passwd`: one entry of an accounts file, added, changed, removed or verified.

use std::ffi::OsString;
use std::path::PathBuf;

use negotiate_auth::accounts::Entry;
use negotiate_auth::ntlm::crypto::ntowf_v1;

use crate::password::Source;
use crate::store::{Change, Store};
use crate::{Failure, Result, report};

/// Add, change, disable, delete or verify an account in a file
///
/// Without --disable, --delete or --verify the password is asked for twice and set.
/// The account is added, or enabled, if need be. The file is replaced in one step;
/// its owner, group and mode and all other lines stay as they are.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Read the password from standard input
    ///
    /// One line, without its newline.
    #[arg(long, verbatim_doc_comment)]
    stdin: bool,

    /// Set the groups, separated by commas
    ///
    /// "" for none; a comma in a name is written %2C and a percent sign %25. An account
    /// that exists keeps its password, unless --stdin gives a new one.
    #[arg(long, value_name = "GROUPS", value_parser = groups, verbatim_doc_comment)]
    groups: Option<Groups>,

    /// Disable the account
    ///
    /// Its password is forgotten; setting a new one enables the account again.
    #[arg(long, group = "instead", conflicts_with_all = ["stdin", "groups"], verbatim_doc_comment)]
    disable: bool,

    /// Delete the account
    #[arg(long, group = "instead", conflicts_with_all = ["stdin", "groups"])]
    delete: bool,

    /// Ask for the password and say whether it is right
    ///
    /// Exits with 0 if it is, with 1 if it is wrong or the account is unknown or disabled.
    #[arg(long, group = "instead", conflicts_with = "groups", verbatim_doc_comment)]
    verify: bool,

    /// The accounts file; a missing one is made with mode 0640
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The account; quote the backslash
    #[arg(value_name = r"DOMAIN\USER", value_parser = account)]
    account: Entry,

    // Where other tools take a password.
    #[arg(hide = true)]
    surplus: Vec<OsString>,
}

#[derive(Clone)]
struct Groups(Vec<String>);

fn groups(list: &str) -> std::result::Result<Groups, String> {
    Entry::parse_groups(list).map(Groups).map_err(|error| error.to_string())
}

/// An entry with no more than its names.
fn account(name: &str) -> std::result::Result<Entry, String> {
    let (domain, user) =
        name.split_once('\\').ok_or(r"an account is written DOMAIN\user, quoted for the shell")?;
    let entry = Entry {
        domain: domain.to_owned(),
        user: user.to_owned(),
        nt_hash: None,
        groups: Vec::new(),
    };
    entry.check().map_err(|error| error.to_string())?;
    Ok(entry)
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.surplus.is_empty() {
        return Err(Failure::usage(
            "more than FILE and DOMAIN\\user; a password is never taken from the command line, \
             which others can see: leave it out, or use --stdin",
        ));
    }
    let store = Store::locate(&args.file)?;
    match args {
        Args { verify: true, .. } => verify(args, &store),
        Args { delete: true, .. } => edit_existing(args, &store, |_| (Change::Remove, "deleted")),
        Args { disable: true, .. } => edit_existing(args, &store, |entry| {
            let disabled = Entry { nt_hash: None, ..entry.clone() };
            (Change::Put(disabled), "disabled")
        }),
        _ => set(args, &store),
    }
}

/// The account as the command line names it.
fn name(account: &Entry) -> String {
    format!(r"{}\{}", account.domain, account.user)
}

fn source(args: &Args) -> Source {
    if args.stdin { Source::Stdin } else { Source::Terminal }
}

fn verify(args: &Args, store: &Store) -> Result<()> {
    let entry = store.find(&args.account)?;
    let entry = entry.ok_or_else(|| unknown(args, store))?;
    let name = name(&entry);
    let hash = entry.nt_hash.ok_or_else(|| store.failure(format!("{name} is disabled")))?;
    let password = source(args).current(&name)?;
    if ntowf_v1(&password) == hash {
        report(&format!("{name}: the password is right"));
        Ok(())
    } else {
        Err(store.failure(format!("the password of {name} is another one")))
    }
}

fn set(args: &Args, store: &Store) -> Result<()> {
    let known = store.find(&args.account)?;
    if let (Some(groups), Some(_), false) = (&args.groups, &known, args.stdin) {
        return edit_existing(args, store, |entry| {
            let regrouped = Entry { groups: distinct(groups), ..entry.clone() };
            (Change::Put(regrouped), "groups set")
        });
    }
    let shown = name(known.as_ref().unwrap_or(&args.account));
    let hash = ntowf_v1(&source(args).new_one(&shown)?);
    store.edit(&args.account, |known| {
        let mut entry = known.unwrap_or(&args.account).clone();
        let done = match known {
            None => "added",
            Some(Entry { nt_hash: None, .. }) => "password set, enabled",
            Some(_) => "password changed",
        };
        entry.nt_hash = Some(hash.clone());
        if let Some(groups) = &args.groups {
            entry.groups = distinct(groups);
        }
        let done = format!("{}: {done}", name(&entry));
        Ok((Change::Put(entry), done))
    })
}

fn edit_existing(
    args: &Args,
    store: &Store,
    change: impl Fn(&Entry) -> (Change, &'static str),
) -> Result<()> {
    store.edit(&args.account, |known| {
        let entry = known.ok_or_else(|| unknown(args, store))?;
        let (change, done) = change(entry);
        Ok((change, format!("{}: {done}", name(entry))))
    })
}

fn unknown(args: &Args, store: &Store) -> Failure {
    store.failure(format!("there is no account {}", name(&args.account)))
}

/// Each group once, in the order given.
fn distinct(groups: &Groups) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for group in &groups.0 {
        if !distinct.contains(group) {
            distinct.push(group.clone());
        }
    }
    distinct
}
