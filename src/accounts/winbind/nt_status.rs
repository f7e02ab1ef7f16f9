//! What winbindd and domain controllers say (MS-ERREF 2.3), as a reason and for a log.

use crate::reason::Reason;

/// NT_STATUS_LOGON_FAILURE: it may mean what has nothing to do with the user.
pub(super) const LOGON_FAILURE: u32 = 0xc000_006d;

/// Why a domain controller does not let somebody in.
pub(super) fn reason(status: u32) -> Reason {
    match status {
        0xc000_0064 => Reason::UnknownUser,
        // No such domain, or none that is trusted.
        0xc000_00df => Reason::UnknownUser,
        0xc000_006a => Reason::WrongResponse,
        0xc000_006e | 0xc000_015b => Reason::AccountRestricted,
        0xc000_006f => Reason::LogonHours,
        0xc000_0070 => Reason::LogonWorkstation,
        0xc000_0071 => Reason::PasswordExpired,
        0xc000_0072 => Reason::AccountDisabled,
        0xc000_0193 => Reason::AccountExpired,
        0xc000_0224 => Reason::PasswordMustChange,
        0xc000_0234 => Reason::AccountLockedOut,
        0xc000_0133 => Reason::DomainClock,
        // The account of this computer: no secret, none of that name, a password that does not fit.
        0xc000_0022 | 0xc000_00da | 0xc000_018a..=0xc000_018d | 0xc000_0199 => Reason::BrokenTrust,
        _ if is_unreachable(status) => Reason::NoLogonServers,
        _ => Reason::DomainRefused,
    }
}

/// Whether no domain controller could be asked.
pub(super) fn is_unreachable(status: u32) -> bool {
    matches!(
        status,
        // NO_LOGON_SERVERS, IO_TIMEOUT, BAD_NETWORK_PATH, UNEXPECTED_NETWORK_ERROR, PIPE_...
        0xc000_005e | 0xc000_00b5 | 0xc000_00be | 0xc000_00c4 | 0xc000_00b0 | 0xc000_014b
        // LOCAL_DISCONNECT ... CONNECTION_RESET, DOMAIN_CONTROLLER_NOT_FOUND, CONNECTION_REFUSED,
        // NETWORK_, HOST_, PROTOCOL_ and PORT_UNREACHABLE, CONNECTION_ABORTED.
        | 0xc000_013b..=0xc000_013d | 0xc000_020c | 0xc000_020d | 0xc000_0233 | 0xc000_0236
        | 0xc000_023c..=0xc000_023f | 0xc000_0241
        // RPC_NT_...: SERVER_UNAVAILABLE, SERVER_TOO_BUSY, CALL_FAILED, CALL_FAILED_DNE.
        | 0xc002_0017 | 0xc002_0018 | 0xc002_001b | 0xc002_001c
    )
}

/// Its name, for a log.
pub(super) fn name(status: u32) -> String {
    let name = match status {
        0xc000_0022 => "ACCESS_DENIED",
        0xc000_005e => "NO_LOGON_SERVERS",
        0xc000_0064 => "NO_SUCH_USER",
        0xc000_006a => "WRONG_PASSWORD",
        LOGON_FAILURE => "LOGON_FAILURE",
        0xc000_006e => "ACCOUNT_RESTRICTION",
        0xc000_006f => "INVALID_LOGON_HOURS",
        0xc000_0070 => "INVALID_WORKSTATION",
        0xc000_0071 => "PASSWORD_EXPIRED",
        0xc000_0072 => "ACCOUNT_DISABLED",
        0xc000_00b5 => "IO_TIMEOUT",
        0xc000_00da => "CANT_ACCESS_DOMAIN_INFO",
        0xc000_00df => "NO_SUCH_DOMAIN",
        0xc000_0133 => "TIME_DIFFERENCE_AT_DC",
        0xc000_015b => "LOGON_TYPE_NOT_GRANTED",
        0xc000_018a => "NO_TRUST_LSA_SECRET",
        0xc000_018b => "NO_TRUST_SAM_ACCOUNT",
        0xc000_018c => "TRUSTED_DOMAIN_FAILURE",
        0xc000_018d => "TRUSTED_RELATIONSHIP_FAILURE",
        0xc000_0193 => "ACCOUNT_EXPIRED",
        0xc000_0199 => "NOLOGON_WORKSTATION_TRUST_ACCOUNT",
        0xc000_020c => "CONNECTION_DISCONNECTED",
        0xc000_0224 => "PASSWORD_MUST_CHANGE",
        0xc000_0233 => "DOMAIN_CONTROLLER_NOT_FOUND",
        0xc000_0234 => "ACCOUNT_LOCKED_OUT",
        0xc000_0236 => "CONNECTION_REFUSED",
        0xc000_023c => "NETWORK_UNREACHABLE",
        0xc000_023d => "HOST_UNREACHABLE",
        _ => return format!("NTSTATUS {status:#010x}"),
    };
    format!("NT_STATUS_{name}")
}
