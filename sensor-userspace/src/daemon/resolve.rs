//! The machine's own resolver: files, DNS, whatever `/etc/nsswitch.conf` says.

use std::ffi::{CStr, CString, c_int, c_ulong};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

/// The beginning of glibc's `struct __res_state`, which is fixed for good.
#[repr(C)]
struct State {
    retrans: c_int,
    retry: c_int,
    options: c_ulong,
}

/// Of `options`: try a name within the search domains of `/etc/resolv.conf`.
const DEFAULT_DOMAIN: c_ulong = 0x80;
const SEARCH: c_ulong = 0x200;

unsafe extern "C" {
    /// The calling thread's own.
    #[link_name = "__res_state"]
    safe fn res_state() -> *mut State;
}

/// A name is what it says: `api.example.com` never becomes `api.example.com.corp.example`.
fn without_search_domains() {
    // SAFETY: fills in the calling thread's own state, by the files as they are now.
    if unsafe { libc::res_init() } == 0 {
        // SAFETY: glibc's pointer to that state, which lives as long as the thread does.
        unsafe { (*res_state()).options &= !(DEFAULT_DOMAIN | SEARCH) };
    }
}

/// All addresses of a host; takes as long as the resolver takes.
pub fn addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    without_search_domains();
    let name = CString::new(name).map_err(|error| error.to_string())?;
    // SAFETY: all zeros is a sound `addrinfo`.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = libc::AF_UNSPEC;
    // Else each address comes once for every kind of socket.
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list = ptr::null_mut();
    // SAFETY: a C string, hints and a place for the answer that all live on.
    let code = unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &raw const hints, &raw mut list) };
    if code != 0 {
        // SAFETY: a constant text of glibc's.
        let text = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
        return Err(text.to_string_lossy().into_owned());
    }
    let mut found = Vec::new();
    let mut at = list;
    while !at.is_null() {
        // SAFETY: an entry of the list that getaddrinfo made, freed below.
        let entry = unsafe { &*at };
        // SAFETY: the entry's family says what its address is.
        found.extend(unsafe { address(entry) });
        at = entry.ai_next;
    }
    // SAFETY: the list that getaddrinfo made, freed once.
    unsafe { libc::freeaddrinfo(list) };
    Ok(found)
}

/// SAFETY: `entry.ai_addr` points to an address of the family that the entry names.
unsafe fn address(entry: &libc::addrinfo) -> Option<IpAddr> {
    match entry.ai_family {
        libc::AF_INET => {
            // SAFETY: by the family.
            let address = unsafe { entry.ai_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: by the family.
            let address = unsafe { entry.ai_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_asked_and_what_is_no_host_is_an_error() {
        assert!(addresses("localhost").unwrap().iter().all(IpAddr::is_loopback));
        // Reserved for never being a host; no resolver is needed to know it, and any says so.
        assert!(addresses("nowhere.invalid").is_err());
    }
}
