//! The accounts of an Active Directory, through winbindd: its domain controllers judge every
//! response, in a job, and keep nobody waiting who did not ask them.

mod breaker;
mod groups;
mod library;
mod nt_status;
mod thread;

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use super::group_names::{Spelled, Wanted};
use super::{Account, Busy};
use crate::groups::{GroupName, Groups, Origin};
use crate::job::{Audience, Job, Jobs};
use crate::names;
use crate::ntlm::{Answer, Question, Refused, ServerNames, Vouched};
use crate::reason::Reason;
use crate::sid::{Sid, SidSet};
use crate::watched::Notice;
use breaker::{Breaker, Change, Pass};
pub(crate) use groups::NameCache;
use library::{Context, Failure, Interface, Library, Logon, LogonRequest};

/// How long the names of this computer are good without another look.
const NAMES_GOOD_FOR: Duration = Duration::from_secs(5 * 60);

/// When they are looked at again after that could not be done.
const NAMES_AGAIN: Duration = Duration::from_secs(10);

/// How often it may be asked whether this computer's own account is fine.
const TRUST_EVERY: Duration = Duration::from_secs(60);

/// How often it is told what was found out too late for who asked.
const LATE_EVERY: Duration = Duration::from_secs(60);

/// How long the reading of a configuration waits for winbindd.
const WAIT_AT_START: Duration = Duration::from_secs(2);

/// How long it does not wait again after that was in vain.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// So many connections to winbindd are kept for the next who ask.
const MOST_IDLE: usize = 8;

/// What is asked for without a domain controller is answered within this, or not at all.
const AT_ONCE: Duration = Duration::from_secs(2);

/// So many accounts are remembered, to be shared by the connections of one user.
const MOST_SHARED: usize = 16_384;

/// So much news is kept until somebody's answer can carry it into the log.
const MOST_NOTICES: usize = 16;

/// The domain of this computer.
pub struct Winbind {
    library: &'static Library,
    idle: Mutex<Vec<Context>>,
    jobs: Jobs,
    breaker: Arc<Breaker>,
    names: ArcSwapOption<ServerNames>,
    /// When the names are to be looked at again, in milliseconds since `opened`.
    names_due: AtomicU64,
    opened: Instant,
    trust: Mutex<Trust>,
    group_names: NameCache,
    accounts: Mutex<HashMap<Sid, Weak<Account>>>,
    notices: Mutex<VecDeque<Notice>>,
    told_late: Mutex<Option<Instant>>,
    /// Since when winbindd has not answered while a configuration was read.
    silent_at_start: Mutex<Option<Instant>>,
}

/// Whether the account of this computer is fine.
struct Trust {
    /// When that was asked last.
    asked: Option<Instant>,
    /// What was found last.
    fine: bool,
}

/// What is found out beside a verdict.
#[derive(Default)]
pub(crate) struct Besides {
    /// The groups that have these names.
    pub(crate) groups: Vec<GroupName>,
    /// The names of the user's groups.
    pub(crate) spelled: bool,
}

/// What somebody waits for.
pub(crate) struct Inquiry {
    pub(crate) job: Job,
    pub(crate) reply: Reply,
}

/// The answer, when the job is done.
pub(crate) type Reply = Arc<OnceLock<Answer>>;

impl PartialEq for Winbind {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Winbind {}

impl Hash for Winbind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        "winbind".hash(state);
    }
}

impl Winbind {
    /// The one of this process: whoever waits for the domain is counted together. Nothing is
    /// connected yet; the error says what is not installed.
    pub(crate) fn open() -> Result<Arc<Self>, String> {
        static OPEN: Mutex<Weak<Winbind>> = Mutex::new(Weak::new());
        let library = Library::open()?;
        let mut open = OPEN.lock();
        if let Some(known) = open.upgrade() {
            return Ok(known);
        }
        let new = Arc::new(Self {
            library,
            idle: Mutex::default(),
            jobs: Jobs::default(),
            breaker: Arc::default(),
            names: ArcSwapOption::empty(),
            names_due: AtomicU64::new(0),
            opened: Instant::now(),
            trust: Mutex::new(Trust { asked: None, fine: true }),
            group_names: NameCache::default(),
            accounts: Mutex::default(),
            notices: Mutex::default(),
            told_late: Mutex::default(),
            silent_at_start: Mutex::default(),
        });
        *open = Arc::downgrade(&new);
        Ok(new)
    }

    /// The names of this computer in its domain; `None` as long as winbindd has not told them.
    pub(crate) fn names(&self) -> Option<Arc<ServerNames>> {
        self.names.load_full()
    }

    /// What has to be asked before a CHALLENGE is made: the names that it tells, as long as they are
    /// not known. Who asks a domain controller looks whether they have changed.
    pub(crate) fn before_challenge(
        self: &Arc<Self>,
        max_jobs: usize,
        timeout: Duration,
    ) -> Result<Option<Job>, Busy> {
        if self.names.load().is_some() {
            return Ok(None);
        }
        let permit = self.jobs.permit(max_jobs).ok_or(Busy::TooMany)?;
        let pass = self.breaker.pass(timeout).ok_or(Busy::NoAnswers)?;
        let winbind = self.clone();
        let work = Box::new(move || {
            let _permit = permit;
            let began = Instant::now();
            winbind.with_context(|context| {
                let told = winbind.refresh_names(context).is_ok();
                if told && began.elapsed() < timeout {
                    winbind.answered(pass);
                }
                ((), told)
            });
        });
        Ok(Some(Job::new(Audience::One, work)))
    }

    /// Asks winbindd for the names; it needs no domain controller for that.
    fn refresh_names(&self, context: &Context) -> Result<(), Failure> {
        let found = context.interface();
        let good_for = if found.is_ok() { NAMES_GOOD_FOR } else { NAMES_AGAIN };
        let due = u64::try_from((self.opened.elapsed() + good_for).as_millis());
        self.names_due.store(due.unwrap_or(u64::MAX), Ordering::Relaxed);
        let names = server_names(&found?);
        match names {
            Some(names) if self.names.load().as_deref() == Some(&names) => {}
            Some(names) => self.names.store(Some(Arc::new(names))),
            None => self.tell(
                "winbind: this computer's names are not what a CHALLENGE can tell: the NetBIOS names \
                 of computer and domain have to be ASCII",
                true,
            ),
        }
        Ok(())
    }

    fn names_are_due(&self) -> bool {
        self.opened.elapsed().as_millis() >= u128::from(self.names_due.load(Ordering::Relaxed))
    }

    /// What is known of groups.
    pub(crate) fn group_names(&self) -> &NameCache {
        &self.group_names
    }

    /// What groups are called, as far as it is remembered.
    pub(crate) fn spell(self: &Arc<Self>, groups: &SidSet) -> Spelled {
        self.group_names.spell(groups, |until| Origin::new(self, until))
    }

    /// Looks up names of groups, or what they are the names of.
    pub(crate) fn look_up(
        self: &Arc<Self>,
        wanted: Wanted,
        max_jobs: usize,
        timeout: Duration,
    ) -> Result<Job, Busy> {
        let permit = self.jobs.permit(max_jobs).ok_or(Busy::TooMany)?;
        let pass = self.breaker.pass(timeout).ok_or(Busy::NoAnswers)?;
        let winbind = self.clone();
        let work = Box::new(move || {
            let _permit = permit;
            let began = Instant::now();
            winbind.with_context(|context| {
                let found = winbind.look_up_now(&wanted, context).is_ok();
                if found && began.elapsed() < timeout {
                    winbind.answered(pass);
                }
                ((), found)
            });
        });
        Ok(Job::new(Audience::One, work))
    }

    /// Looks up names of groups and waits a moment for them. The thread that asks has nothing of this
    /// process but a connection of its own: it may be left behind, by a fork as well.
    pub(crate) fn find_at_start(&self, names: Vec<GroupName>) {
        let is_due = |name: &GroupName| self.group_names.sid(name).is_none_or(|known| known.due);
        let names: Vec<_> = names.into_iter().filter(is_due).collect();
        let mut silent = self.silent_at_start.lock();
        if names.is_empty() || silent.is_some_and(|since| since.elapsed() < SILENT_FOR) {
            return;
        }
        let (library, (sender, found)) = (self.library, std::sync::mpsc::sync_channel(1));
        let asked = names.clone();
        let ask = move || {
            let found = Context::new(library).and_then(|context| {
                let own = context.interface().ok()?.netbios_domain;
                let find = |name| groups::find(name, &context, &own).ok();
                asked.iter().map(find).collect::<Option<Vec<_>>>()
            });
            let _ = sender.send(found);
        };
        let asking = thread::without_signals(ask);
        match asking.ok().and_then(|()| found.recv_timeout(WAIT_AT_START).ok()).flatten() {
            Some(found) => self.group_names.learn(names.into_iter().zip(found)),
            None => *silent = Some(Instant::now()),
        }
    }

    fn look_up_now(&self, wanted: &Wanted, context: &Context) -> Result<(), Failure> {
        if self.names.load().is_none() {
            self.refresh_names(context)?;
        }
        let own = self.names().ok_or(Failure::NotAvailable)?;
        self.group_names.look_up(wanted, context, &own.nb_domain)
    }

    /// One question to a domain controller, about one AUTHENTICATE. If it is right, more is asked at
    /// once that the sign-in will depend on.
    pub(crate) fn ask(
        self: &Arc<Self>,
        question: Question,
        besides: Besides,
        max_jobs: usize,
        timeout: Duration,
    ) -> Result<Inquiry, Busy> {
        let permit = self.jobs.permit(max_jobs).ok_or(Busy::TooMany)?;
        let pass = self.breaker.pass(timeout).ok_or(Busy::NoAnswers)?;
        let reply = Reply::default();
        let (winbind, for_asker) = (self.clone(), reply.clone());
        let work = Box::new(move || {
            let _permit = permit;
            let verdict = winbind.judge(&question, &besides, pass, timeout);
            let _ = for_asker.set(Answer::new(question, verdict));
        });
        Ok(Inquiry { job: Job::new(Audience::One, work), reply })
    }

    /// Somebody who might have waited for `timeout` has given up.
    pub(crate) fn gave_up(&self, waited: Duration, timeout: Duration) {
        if self.breaker.gave_up(waited, timeout) == Some(Change::Opened) {
            self.tell(
                "winbind: no answer in time, several times in a row: sign-ins are answered 503 at \
                 once until there is one; one at a time tries",
                true,
            );
        }
    }

    /// Somebody was refused who had given up by then, and no line of a log says why.
    fn tell_late(&self, reason: Reason) {
        let ours = [Reason::BrokenTrust, Reason::DomainClock, Reason::NoLogonServers];
        let mut told = self.told_late.lock();
        if ours.contains(&reason) && told.is_none_or(|told| told.elapsed() >= LATE_EVERY) {
            *told = Some(Instant::now());
            self.tell(
                format!("winbind: said too late to a sign-in: {}", reason.sentence().as_str()),
                true,
            );
        }
    }

    fn answered(&self, pass: Pass) {
        if pass.answered() == Some(Change::Closed) {
            self.tell("winbind: answers again", false);
        }
    }

    /// Takes what an administrator has to be told.
    pub(crate) fn take_notice(&self) -> Option<Notice> {
        self.notices.lock().pop_front()
    }

    fn tell(&self, text: impl Into<String>, warns: bool) {
        let mut notices = self.notices.lock();
        if notices.len() < MOST_NOTICES {
            notices.push_back(Notice { text: text.into().into(), warns });
        }
    }

    fn judge(
        &self,
        question: &Question,
        besides: &Besides,
        pass: Pass,
        timeout: Duration,
    ) -> Result<Vouched, Refused> {
        let began = Instant::now();
        let outcome = self.with_context(|context| {
            let verdict = self.logon(context, question);
            let (took, is_answer) = (began.elapsed(), is_answer(&verdict));
            let outcome = match verdict {
                Ok(logon) => (self.vouch(context, logon, besides), true),
                Err(failure) => {
                    let has_spoken = matches!(failure, Failure::NtStatus(_));
                    (Err(self.explain(context, question, failure, took)), has_spoken)
                }
            };
            if outcome.1 && self.names_are_due() {
                // They stay as they are if that fails.
                let _ = self.refresh_names(context);
            }
            match (began.elapsed() < timeout, &outcome.0) {
                (true, _) if is_answer => self.answered(pass),
                (false, Err(refused)) => self.tell_late(refused.reason),
                _ => {}
            }
            outcome
        });
        outcome.unwrap_or_else(|| Err(refused(Reason::WinbindUnavailable, "")))
    }

    fn logon(&self, context: &Context, question: &Question) -> Result<Logon, Failure> {
        context.authenticate(&LogonRequest {
            domain: &question.domain,
            user: &question.user,
            workstation: &question.workstation,
            server_challenge: question.server_challenge,
            nt_response: &question.nt_response,
        })
    }

    fn vouch(
        &self,
        context: &Context,
        logon: Logon,
        besides: &Besides,
    ) -> Result<Vouched, Refused> {
        let Logon { domain, user, guest, by_lm, user_session_key, sid, groups } = logon;
        let sid = sid.ok_or_else(|| refused(Reason::BadName, "the account has no SID"))?;
        if guest || sid.is_nobody() {
            return Err(refused(Reason::AnonymousRefused, "the domain has a guest of it"));
        }
        if by_lm {
            return Err(refused(Reason::LmRefused, "the domain looked at another response"));
        }
        let no_key = "the domain told no session key";
        let session_base_key =
            user_session_key.ok_or_else(|| refused(Reason::NoSessionKey, no_key))?;
        let [domain, user] = [domain, user].map(|name| name.filter(|name| is_name(name)));
        let (Some(domain), Some(user)) = (domain, user) else {
            return Err(refused(Reason::BadName, UNFIT_NAME));
        };
        let groups = groups.into_iter().collect();
        self.find_out(context, besides, &groups);
        let groups = Groups::known(sid, groups).shared();
        let account = self.shared(&sid, Account::of_domain(&domain, &user, groups));
        Ok(Vouched { account, session_base_key })
    }

    fn find_out(&self, context: &Context, besides: &Besides, groups: &SidSet) {
        let mut wanted = Wanted { names: besides.groups.clone(), sids: Vec::new() };
        if besides.spelled {
            wanted.sids = self.group_names.due(groups);
        }
        if !wanted.is_empty() && self.look_up_now(&wanted, context).is_err() {
            self.tell(
                "winbind: names of groups could not be looked up: rules about those that are not \
                 known let nobody in, and lists of them are not told",
                true,
            );
        }
    }

    /// The account of the other connections of that user, if it is the same.
    fn shared(&self, sid: &Sid, account: Account) -> Arc<Account> {
        let mut accounts = self.accounts.lock();
        if let Some(known) = accounts.get(sid).and_then(Weak::upgrade) {
            if known.is_like(&account) {
                return known;
            }
        }
        let account = Arc::new(account);
        if accounts.len() >= MOST_SHARED {
            accounts.retain(|_, known| known.strong_count() > 0);
        }
        if accounts.len() < MOST_SHARED {
            accounts.insert(*sid, Arc::downgrade(&account));
        }
        account
    }

    /// Why nobody was let in. What winbindd says may have more than one cause.
    fn explain(
        &self,
        context: &Context,
        question: &Question,
        failure: Failure,
        took: Duration,
    ) -> Refused {
        match failure {
            Failure::NtStatus(nt_status::LOGON_FAILURE) => {
                let said = nt_status::name(nt_status::LOGON_FAILURE);
                refused(self.explain_logon_failure(context, question), &said)
            }
            Failure::NtStatus(status) => {
                refused(nt_status::reason(status), &nt_status::name(status))
            }
            Failure::NotAvailable if took > AT_ONCE => {
                refused(Reason::NoLogonServers, "winbindd gave up")
            }
            Failure::NotAvailable if context.interface().is_err() => {
                refused(Reason::WinbindUnavailable, "")
            }
            Failure::NotAvailable if is_locked_out(context) => refused(Reason::NotPrivileged, ""),
            // It runs: it had lost the domain controller that it was asking.
            Failure::NotAvailable => refused(Reason::NoLogonServers, "winbindd gave up"),
            Failure::Other(code) => {
                refused(Reason::DomainRefused, &format!("libwbclient's error {code}"))
            }
        }
    }

    /// A wrong password or an unknown user is called by its name; this is something else.
    fn explain_logon_failure(&self, context: &Context, question: &Question) -> Reason {
        let (nb_computer, nb_domain) = &question.told;
        if self.refresh_names(context).is_ok()
            && self.names().is_some_and(|now| !now.is_computer(nb_computer, nb_domain))
        {
            return Reason::StaleNames;
        }
        match self.is_trusted(context) {
            true => Reason::LogonFailure,
            false => Reason::BrokenTrust,
        }
    }

    /// Whether the account of this computer is fine. That is not asked often: meanwhile, and while
    /// somebody asks, it is what it was.
    fn is_trusted(&self, context: &Context) -> bool {
        {
            let mut trust = self.trust.lock();
            if trust.asked.is_some_and(|asked| asked.elapsed() < TRUST_EVERY) {
                return trust.fine;
            }
            trust.asked = Some(Instant::now());
        }
        let found = context.check_trust();
        let mut trust = self.trust.lock();
        match found {
            Ok(()) => trust.fine = true,
            Err(Failure::NtStatus(status)) if !nt_status::is_unreachable(status) => {
                trust.fine = false;
            }
            // Nobody could be asked.
            Err(_) => {}
        }
        trust.fine
    }

    /// Lends a connection to winbindd; who borrows it says besides whether it is still good.
    fn with_context<T>(&self, ask: impl FnOnce(&Context) -> (T, bool)) -> Option<T> {
        let idle = self.idle.lock().pop();
        let context = idle.or_else(|| Context::new(self.library))?;
        let (result, is_good) = ask(&context);
        let mut idle = self.idle.lock();
        if is_good && idle.len() < MOST_IDLE {
            idle.push(context);
        }
        Some(result)
    }
}

/// Whether winbindd, which runs, does not speak with this process about sign-ins. What is asked is
/// nothing that a domain controller could tell.
fn is_locked_out(context: &Context) -> bool {
    let nobody = LogonRequest {
        domain: "BUILTIN",
        user: "-",
        workstation: "",
        server_challenge: [0; 8],
        nt_response: &[0; 24],
    };
    context.authenticate(&nobody).err() == Some(Failure::NotAvailable)
}

/// Whether somebody who knows gave a verdict.
fn is_answer(verdict: &Result<Logon, Failure>) -> bool {
    match verdict {
        Ok(_) => true,
        Err(Failure::NtStatus(status)) => nt_status::reason(*status) != Reason::NoLogonServers,
        Err(_) => false,
    }
}

/// Whether winbindd tells this name of an account or a group whole, and as it is: its texts have at
/// most 255 bytes, and it may put U+FFFD for what it cannot write.
fn is_name(name: &str) -> bool {
    (1..255).contains(&name.len())
        && !name.contains(['\\', '\u{fffd}'])
        && names::is_acceptable(name)
}

const UNFIT_NAME: &str = "winbindd has a name for the account that cannot be used; if it is not \
                          UTF-8, see \"unix charset\" in smb.conf";

fn refused(reason: Reason, said: &str) -> Refused {
    Refused { reason, said: said.to_owned() }
}

/// What a CHALLENGE tells: winbindd and domain controllers compare the NetBIOS names.
fn server_names(interface: &Interface) -> Option<ServerNames> {
    /// Every half-done handshake holds them.
    const MOST: usize = crate::config::MAX_DNS;
    let fits = |name: &String| !name.is_empty() && name.len() <= MOST && name.is_ascii();
    let nb_computer = Some(interface.netbios_name.clone()).filter(fits)?;
    let nb_domain = Some(interface.netbios_domain.clone()).filter(fits)?;
    let dns_domain = Some(interface.dns_domain.to_ascii_lowercase()).filter(fits);
    let dns_domain = dns_domain.unwrap_or_default();
    let dns_computer = format!("{}.{dns_domain}", nb_computer.to_ascii_lowercase());
    let dns_computer = Some(dns_computer).filter(|name| !dns_domain.is_empty() && fits(name));
    Some(ServerNames {
        nb_computer,
        nb_domain,
        dns_computer: dns_computer.unwrap_or_default(),
        dns_tree: String::new(),
        dns_domain,
    })
}
