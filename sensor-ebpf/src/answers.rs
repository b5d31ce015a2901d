//! What an agent's own resolver is answered, read as it arrives: its memory could be made to say anything.
//!
//! Believed are name servers that were named beforehand, in the network namespace that the agent began in, and of
//! their answers those to a name that the agent's policy speaks of.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_skb_cgroup_id, bpf_skb_load_bytes},
    macros::{cgroup_skb, map},
    maps::PerCpuArray,
    programs::SkBuffContext,
};
use core::{hint::black_box, mem::MaybeUninit};
use sensor_common::{
    answer::{
        Answer, AnswerKey, EVERYWHERE, HostKey, LONGEST_NAME, MAX_SERVERS, NAMES_OF_ONE, PORT, Resolvers, name_end,
        name_start,
    },
    event::Slot,
    hash::component_word,
};

use crate::{
    emit::SECOND,
    kernel::{off, read},
    maps,
    rules::offer_range,
};

const UDP: u8 = 17;
const DOMAIN: [u8; 2] = PORT.to_be_bytes();
/// An IPv4 header without options, and UDP's.
const V4: usize = 28;
const V6: usize = 48;
/// Of IPv4's flags and offset: what says that it is a fragment.
const FRAGMENT: u16 = 0x3fff;
/// `__sk_buff`: of a packet that is for this machine alone; the loopback's interface, in every namespace.
const PACKET_HOST: u32 = 0;
const LOOPBACK: u32 = 1;
const HEADER: u32 = 12;
/// Of a message's flags: an answer, to a standard query, without error.
const KIND: u16 = 0xf80f;
const ANSWER: u16 = 0x8000;
/// Of a record, between its name and what it says: kind, class, how long it may be kept, length.
const FIXED: u32 = 10;
const LABEL: u8 = 63;
/// The rest of a name stands elsewhere.
const POINTER: u8 = 0xc0;
const INTERNET: u16 = 1;
const A: u16 = 1;
const AAAA: u16 = 28;
/// Parts of the records that are looked at: labels, pointers, bodies.
const PARTS: usize = 192;
/// What stands behind so many bytes of a message is not read.
const ROOM: usize = 2048;

/// A message, and how far it is read. What is known of it lies here, where the verifier knows nothing of it: else it
/// would follow each length of a name on its own.
#[repr(C)]
struct Message {
    /// The name that was asked for, as it is being hashed.
    name: u64,
    /// The last of its letters that are not yet, and how many it has.
    word: u64,
    letters: u64,
    agent: u32,
    run: u32,
    len: u32,
    /// What is read next, …
    at: u32,
    /// … where the label that it is of ends, …
    label_ends: u32,
    /// … and whether it is a record's name.
    within_name: u32,
    /// Records that are yet to be read.
    left: u32,
    bytes: [u8; ROOM],
}

#[map]
static MESSAGE: PerCpuArray<Message> = PerCpuArray::with_max_entries(1, 0);

impl Message {
    #[inline(always)]
    fn byte(&self, at: u32) -> u8 {
        self.bytes[at as usize & (ROOM - 1)]
    }

    #[inline(always)]
    fn field(&self, at: u32) -> u16 {
        u16::from_be_bytes([self.byte(at), self.byte(at + 1)])
    }
}

/// Lets every packet by.
#[cgroup_skb(ingress)]
pub fn answers(ctx: SkBuffContext) -> i32 {
    let _ = note(ctx.skb.skb);
    1
}

struct Packet {
    from: [u8; 16],
    /// Where UDP's bytes begin.
    body: u32,
}

#[inline(always)]
fn note(skb: *mut __sk_buff) -> Option<()> {
    let packet = from_port_of_names(skb)?;
    // SAFETY: the program's own context.
    let cgroup = unsafe { bpf_skb_cgroup_id(skb) };
    // SAFETY: the values are read at once.
    let (agent, resolvers) = unsafe {
        let agent = *maps::CGROUPS.get(&cgroup)?;
        (agent, maps::RESOLVERS.get(&agent)?)
    };
    if !is_believed(skb, resolvers, &packet.from) {
        return None;
    }
    let message = MESSAGE.get_ptr_mut(0)?;
    // SAFETY: the program's own context, and a whole map value, which no other program on this processor reads.
    unsafe {
        let len = (*skb).len.wrapping_sub(packet.body);
        // So many there are, and there is room for them.
        let len = black_box(if len < ROOM as u32 { len } else { ROOM as u32 - 1 }) & (ROOM as u32 - 1);
        if len <= HEADER {
            return None;
        }
        if bpf_skb_load_bytes(skb.cast(), packet.body, (&raw mut (*message).bytes).cast(), len) != 0 {
            return None;
        }
        (*message).agent = agent;
        (*message).run = resolvers.run;
        (*message).len = len;
        if (*message).field(2) & KIND != ANSWER || (*message).field(4) != 1 {
            return None;
        }
        (*message).left = (*message).field(6).into();
    }
    read_question()?;
    // SAFETY: whole map values.
    let key = unsafe {
        let policy = (*maps::GOVERNED.get_ptr(agent)?).policy.checked_sub(1)?;
        HostKey { name: (*message).name, policy, reserved: 0 }
    };
    // SAFETY: only whether it is there is asked.
    unsafe { maps::HOSTS.get(&key) }?;
    for _ in 0..PARTS {
        if read_part() != MORE {
            break;
        }
    }
    Some(())
}

/// A datagram, whole, from the port that name servers answer from.
#[inline(always)]
fn from_port_of_names(skb: *mut __sk_buff) -> Option<Packet> {
    let head: [u8; V4] = load(skb, 0)?;
    match head[0] {
        0x45 if head[9] == UDP && [head[20], head[21]] == DOMAIN => {
            if u16::from_be_bytes([head[6], head[7]]) & FRAGMENT != 0 {
                return None;
            }
            let from = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, head[12], head[13], head[14], head[15]];
            Some(Packet { from, body: V4 as u32 })
        }
        0x60..=0x6f if head[6] == UDP => {
            let ports: [u8; 2] = load(skb, V6 as u32 - 8)?;
            let from: [u8; 16] = load(skb, 8)?;
            (ports == DOMAIN).then_some(Packet { from, body: V6 as u32 })
        }
        _ => None,
    }
}

#[inline(always)]
fn load<const N: usize>(skb: *mut __sk_buff, at: u32) -> Option<[u8; N]> {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    // SAFETY: as many bytes as there is room for; they are read only where all came.
    unsafe {
        let result = bpf_skb_load_bytes(skb.cast(), at, bytes.as_mut_ptr().cast(), N as u32);
        (result == 0).then(|| bytes.assume_init())
    }
}

/// Of the packets that the kernel takes for this machine's own, those that such a server may have sent: who answers by the
/// loopback's interface is this machine.
#[inline(always)]
fn is_believed(skb: *mut __sk_buff, resolvers: &Resolvers, from: &[u8; 16]) -> bool {
    // SAFETY: the program's own context.
    let (kind, interface) = unsafe { ((*skb).pkt_type, (*skb).ifindex) };
    let local = interface == LOOPBACK;
    let known = (0..MAX_SERVERS).any(|which| {
        which < resolvers.count as usize
            && resolvers.servers[which] == *from
            && (resolvers.local >> which & 1 != 0) == local
    });
    if !known || kind != PACKET_HOST {
        return false;
    }
    // The socket that is answered.
    let sock = read::<u64>(skb as u64 + off::off_skb_sock()).unwrap_or(0);
    let namespace = namespace(sock).unwrap_or(0);
    namespace != 0 && namespace == resolvers.namespace && !is_served(namespace)
}

/// Whether an agent may be whoever answers there.
#[inline(always)]
fn is_served(namespace: u32) -> bool {
    // SAFETY: only whether it is there is asked, and a value that is read at once.
    unsafe { maps::SERVED.get(&namespace).is_some() || maps::SERVED.get(&EVERYWHERE).is_none_or(|all| *all != 0) }
}

/// The network namespace that a socket is of.
#[inline(always)]
pub fn namespace(sock: u64) -> Option<u32> {
    let net = read::<u64>(sock + off::off_sock_net())?;
    read::<u32>(net + off::off_net_number())
}

/// An agent sends from the port that names are asked for at: whoever answers from there may be the agent itself.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn serves(agent: u32, sock: u64) -> u64 {
    if read::<u16>(sock + off::off_sock_port()) != Some(PORT) {
        return 0;
    }
    let noted = namespace(sock).is_some_and(|namespace| maps::SERVED.insert(&namespace, &agent, 0).is_ok());
    if let (false, Some(everywhere)) = (noted, maps::SERVED.get_ptr_mut(&EVERYWHERE)) {
        // SAFETY: a whole map value.
        unsafe { *everywhere = 1 };
    }
    1
}

/// Puts the hash of the name that was asked for into the message, and goes on to its records.
#[inline(always)]
fn read_question() -> Option<()> {
    let message = MESSAGE.get_ptr_mut(0)?;
    // SAFETY: whole map values, the first of which no other program on this processor uses.
    unsafe {
        (*message).name = name_start(*maps::SECRET.get_ptr(0)?);
        (*message).word = 0;
        (*message).letters = 0;
        (*message).at = HEADER;
        (*message).label_ends = HEADER;
        (*message).within_name = 1;
    }
    for _ in 0..LONGEST_NAME + 2 {
        match read_letter() {
            MORE => {}
            DONE => return Some(()),
            _ => return None,
        }
    }
    None
}

const MORE: u64 = 0;
const DONE: u64 = 1;
const WRONG: u64 = 2;

/// Reads one byte of the name that was asked for.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn read_letter() -> u64 {
    let (Some(message), Some(secret)) = (MESSAGE.get_ptr_mut(0), maps::SECRET.get_ptr(0)) else { return WRONG };
    // SAFETY: whole map values, the first of which no other program on this processor uses.
    let (message, secret) = unsafe { (&mut *message, *secret) };
    let at = message.at;
    if at >= message.len {
        return WRONG;
    }
    let byte = message.byte(at);
    message.at = at + 1;
    let letter = if at != message.label_ends {
        match byte {
            b'A'..=b'Z' => byte | 0x20,
            // Within a label it would read as two.
            b'.' => return WRONG,
            byte => byte,
        }
    } else {
        match byte {
            0 => {
                if message.letters % 8 != 0 {
                    message.name = component_word(message.name, message.word, secret);
                }
                message.name = name_end(message.name, message.letters, secret);
                // Type and class stand behind the name.
                message.at = at + 5;
                return DONE;
            }
            1..=LABEL => message.label_ends = at + 1 + u32::from(byte),
            _ => return WRONG,
        }
        if at == HEADER {
            return MORE;
        }
        b'.'
    };
    message.word |= u64::from(letter) << (message.letters % 8 * 8);
    message.letters += 1;
    if message.letters % 8 == 0 {
        message.name = component_word(message.name, message.word, secret);
        message.word = 0;
    }
    MORE
}

/// Reads a label of a record's name, or the rest of the record: its address is noted.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn read_part() -> u64 {
    let Some(message) = MESSAGE.get_ptr_mut(0) else { return WRONG };
    // SAFETY: a whole map value, which no other program on this processor uses.
    let message = unsafe { &mut *message };
    let at = message.at;
    if message.left == 0 || at >= message.len {
        return DONE;
    }
    if message.within_name != 0 {
        match message.byte(at) {
            0 => {
                message.within_name = 0;
                message.at = at + 1;
            }
            byte @ 1..=LABEL => message.at = at + 1 + u32::from(byte),
            POINTER.. => {
                message.within_name = 0;
                message.at = at + 2;
            }
            _ => return WRONG,
        }
        return MORE;
    }
    let (kind, class, len) = (message.field(at), message.field(at + 2), message.field(at + 8));
    let body = at + FIXED;
    message.at = body + u32::from(len);
    message.within_name = 1;
    message.left -= 1;
    if message.at > message.len {
        return WRONG;
    }
    match (kind, class, len) {
        (A, INTERNET, 4) | (AAAA, INTERNET, 16) => note_address(body, len.into()),
        _ => MORE,
    }
}

/// Notes the address that stands there in the message, of so many bytes, as one of the name's.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn note_address(at: u32, len: u32) -> u64 {
    let Some(message) = MESSAGE.get_ptr_mut(0) else { return WRONG };
    // SAFETY: a whole map value, which no other program on this processor uses.
    let message = unsafe { &*message };
    let mut address = [0; 16];
    if len == 4 {
        address[10..12].fill(0xff);
        for byte in 0..4 {
            address[12 + byte] = message.byte(at + byte as u32);
        }
    } else {
        for byte in 0..16 {
            address[byte] = message.byte(at + byte as u32);
        }
    }
    stands_for(&AnswerKey { address, agent: message.agent, run: message.run }, message.name);
    MORE
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: takes nothing.
    unsafe { bpf_ktime_get_boot_ns() / SECOND }
}

/// The name was given this address, just now.
#[inline(always)]
fn stands_for(key: &AnswerKey, name: u64) {
    let Some(answer) = maps::ANSWERS.get_ptr_mut(key) else {
        let mut answer = Answer::default();
        answer.names[0] = name;
        answer.at[0] = now();
        let _ = maps::ANSWERS.insert(key, &answer, 0);
        return;
    };
    // SAFETY: `answer` points to a whole map value.
    unsafe {
        let mut place = 0;
        for which in 0..NAMES_OF_ONE {
            if (*answer).names[which] == name {
                place = which;
                break;
            }
            if (*answer).at[which] < (*answer).at[place] {
                place = which;
            }
        }
        let place = place & (NAMES_OF_ONE - 1);
        if (*answer).names[place] != name {
            // Who reads meanwhile is not to find the other name as young as this one.
            (&raw mut (*answer).names[place]).write_volatile(0);
        }
        (&raw mut (*answer).at[place]).write_volatile(now());
        (&raw mut (*answer).names[place]).write_volatile(name);
    }
}

/// Puts into the slot what the policy offers for the names that its address was answered for. Returns how many.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn find_answered(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 0 };
    // SAFETY: `slot` points to a whole map value, here and below.
    let (agent, address, policy, namespace) =
        unsafe { ((*slot).attempt.head.agent, (*slot).walk.address, (*slot).walk.policy, (*slot).walk.namespace) };
    // SAFETY: the values are read at once.
    let Some((own, run)) = (unsafe { maps::RESOLVERS.get(&agent).map(|from| (from.namespace, from.run)) }) else {
        return 0;
    };
    // Elsewhere the address may be another host's.
    if namespace != own {
        return 0;
    }
    // SAFETY: the value is read at once.
    let Some(answer) = (unsafe { maps::ANSWERS.get(&AnswerKey { address, agent, run }) }) else { return 0 };
    let now = now();
    let mut found = 0;
    for which in 0..NAMES_OF_ONE {
        if !answer.stands(which, now) {
            continue;
        }
        let key = HostKey { name: answer.names[which], policy, reserved: 0 };
        // SAFETY: the value is read at once; so many there is room for.
        unsafe {
            if let Some(range) = maps::HOSTS.get(&key) {
                (*slot).walk.answered[found & (NAMES_OF_ONE - 1)] = *range;
                found += 1;
            }
        }
    }
    found as u64
}

/// Offers what the policy says of the names that the address was answered for.
#[inline(always)]
pub fn offer_answered(slot: *mut Slot, index: u32) {
    let found = find_answered(index);
    for which in 0..NAMES_OF_ONE {
        if which as u64 >= black_box(found) {
            break;
        }
        // SAFETY: `slot` points to a whole map value.
        let range = unsafe { (*slot).walk.answered[which] };
        offer_range(index, range.first, range.count);
    }
}
