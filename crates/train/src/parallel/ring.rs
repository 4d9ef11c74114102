//! Ranks on a ring of TCP connections, each sending to the next and hearing from the one before.
//!
//! A sum is cut into as many parts as there are ranks. Each part goes round once and is added to at every rank,
//! beginning at the rank after its own, where it ends (a reduce-scatter). Then it goes round again as it is (an
//! all-gather): `2 (n − 1) / n` of the data pass each connection, and every rank ends with the same bits (Patarasu & Yuan,
//! "Bandwidth optimal all-reduce algorithms for clusters of workstations", J. Parallel Distrib. Comput. 69, 2009, section 3).

use super::{Launch, ParallelError, Ranks};
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::ops::{AddAssign, Range};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long ranks wait for each other to come.
const MEETING: Duration = Duration::from_secs(60);
/// How long a rank waits for another that is at work: rank 0 measures, samples and saves alone.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
/// The first bytes of every rank: a name and the version of this protocol.
const GREETING: [u8; 8] = *b"aquatin1";
/// Bytes of an introduction: greeting, rank, size, what is done, port.
const INTRODUCTION: usize = 8 + 4 * 8;
/// Bytes of an answer's head: whether it is a refusal, and how long the rest is.
const HEAD: usize = 2 * 8;

/// One rank of a ring.
#[derive(Debug)]
pub struct Ring {
    rank: usize,
    size: usize,
    /// To the next rank and from the one before. One exchange at a time.
    connections: Mutex<(TcpStream, TcpStream)>,
}

/// A number that goes over the wire.
trait Number: Copy + AddAssign + Send + 'static {
    const BYTES: usize;
    fn put(self, out: &mut Vec<u8>);
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($t:ty) => {
        impl Number for $t {
            const BYTES: usize = size_of::<$t>();
            fn put(self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }
            fn get(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$t>()];
                own.copy_from_slice(bytes);
                <$t>::from_le_bytes(own)
            }
        }
    };
}
number!(f32);
number!(f64);

/// What a rank says of itself when it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Introduction {
    rank: u64,
    size: u64,
    /// A number made of what is to be done, which has to be the same for all.
    work: u64,
    /// Where it listens for the one before it.
    port: u64,
}

impl Introduction {
    fn bytes(&self) -> Vec<u8> {
        let numbers = [self.rank, self.size, self.work, self.port];
        GREETING.into_iter().chain(numbers.into_iter().flat_map(u64::to_le_bytes)).collect()
    }

    /// `None` where the caller is no rank of this run.
    fn read(from: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut bytes = [0; INTRODUCTION];
        from.read_exact(&mut bytes)?;
        let number = |index: usize| u64_at(&bytes, 8 + 8 * index);
        Ok((bytes[..8] == GREETING).then(|| Self {
            rank: number(0),
            size: number(1),
            work: number(2),
            port: number(3),
        }))
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut own = [0; 8];
    own.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(own)
}

impl Ring {
    /// Waits for all ranks; `work` is what they do, which has to be the same for all.
    ///
    /// # Errors
    /// When one does not come, or does something else.
    pub fn join(launch: &Launch, work: &[u8]) -> Result<Self, ParallelError> {
        Self::join_within(launch, work, MEETING)
    }

    fn join_within(launch: &Launch, work: &[u8], patience: Duration) -> Result<Self, ParallelError> {
        // FNV-1a: no secret, and the same in every build.
        let work = work.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let (rank, size) = (launch.rank, launch.size);
        let lost =
            |neighbour| move |error: io::Error| ParallelError::Lost { rank, neighbour, reason: error.to_string() };
        let next = (rank + 1) % size;
        let before = (rank + size - 1) % size;
        let own = TcpListener::bind(("0.0.0.0", 0)).map_err(lost(rank))?;
        let port = own.local_addr().map_err(lost(rank))?.port();
        let me = Introduction { rank: rank as u64, size: size as u64, work, port: port.into() };
        let deadline = Instant::now() + patience;
        let next_address = match rank {
            0 => host(launch, me, patience)?,
            _ => ask(launch, me, patience)?,
        };
        // The one before may call before this one has called the next: both are only waiting in the queue.
        let to = connect(&next_address, deadline).map_err(lost(next))?;
        let from = accept(&own, deadline).map_err(lost(before))?;
        for stream in [&to, &from] {
            stream.set_nodelay(true).map_err(lost(next))?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(lost(next))?;
            stream.set_write_timeout(Some(PATIENCE)).map_err(lost(next))?;
        }
        Ok(Self { rank, size, connections: Mutex::new((to, from)) })
    }

    /// Sends to the next rank while hearing from the one before.
    fn exchange(&self, message: &[u8], length: usize) -> Result<Vec<u8>, ParallelError> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let (to, from) = &mut *connections;
        let mut heard = vec![0; length];
        let (sent, got) = thread::scope(|scope| {
            // Both at a time: two ranks that only send would wait for each other when the buffers are full.
            let sending = scope.spawn(|| to.write_all(message));
            let got = from.read_exact(&mut heard);
            (sending.join(), got)
        });
        let (next, before) = ((self.rank + 1) % self.size, (self.rank + self.size - 1) % self.size);
        let lost = |neighbour, reason: String| ParallelError::Lost { rank: self.rank, neighbour, reason };
        got.map_err(|error| lost(before, error.to_string()))?;
        match sent {
            Ok(sent) => sent.map_err(|error| lost(next, error.to_string()))?,
            Err(_) => return Err(lost(next, "the thread that sends failed".to_owned())),
        }
        Ok(heard)
    }

    /// Sends a part of the values to the next rank while hearing another from the one before.
    fn pass<T: Number>(
        &self,
        values: &[T],
        sending: Range<usize>,
        hearing: &Range<usize>,
    ) -> Result<Vec<T>, ParallelError> {
        let mut message = Vec::with_capacity(sending.len() * T::BYTES);
        values[sending].iter().for_each(|value| value.put(&mut message));
        let heard = self.exchange(&message, hearing.len() * T::BYTES)?;
        Ok(heard.chunks_exact(T::BYTES).map(T::get).collect())
    }

    /// Adds up part `r` of the values at rank `r`.
    fn sum_parts<T: Number>(&self, values: &mut [T], parts: &[Range<usize>]) -> Result<(), ParallelError> {
        let (rank, size) = (self.rank, self.size);
        for step in 1..size {
            let (sending, hearing) = (&parts[(rank + size - step) % size], &parts[(rank + 2 * size - step - 1) % size]);
            let heard = self.pass(values, sending.clone(), hearing)?;
            for (value, heard) in values[hearing.clone()].iter_mut().zip(heard) {
                *value += heard;
            }
        }
        Ok(())
    }

    fn sum_all<T: Number>(&self, values: &mut [T]) -> Result<(), ParallelError> {
        let (rank, size) = (self.rank, self.size);
        let parts: Vec<_> = (0..size).map(|index| values_range(values.len(), size, index)).collect();
        self.sum_parts(values, &parts)?;
        for step in 0..size - 1 {
            let (sending, hearing) = (&parts[(rank + size - step) % size], &parts[(rank + 2 * size - step - 1) % size]);
            let heard = self.pass(values, sending.clone(), hearing)?;
            values[hearing.clone()].copy_from_slice(&heard);
        }
        Ok(())
    }
}

/// Part `index` of `size` nearly equal parts of so many values.
fn values_range(length: usize, size: usize, index: usize) -> Range<usize> {
    length * index / size..length * (index + 1) / size
}

impl Ranks for Ring {
    fn rank(&self) -> usize {
        self.rank
    }
    fn size(&self) -> usize {
        self.size
    }
    fn all_reduce(&self, values: &mut [f64]) -> Result<(), ParallelError> {
        self.sum_all(values)
    }
    fn reduce_scatter(&self, values: &mut [f64], parts: &[Range<usize>]) -> Result<(), ParallelError> {
        self.sum_parts(values, parts)
    }
    fn reduce_scatter_single(&self, values: &mut [f32], parts: &[Range<usize>]) -> Result<(), ParallelError> {
        self.sum_parts(values, parts)
    }
    fn all_gather(&self, mine: Vec<u8>) -> Result<Vec<Vec<u8>>, ParallelError> {
        let mut all = vec![Vec::new(); self.size];
        let mut passing = mine.clone();
        all[self.rank] = mine;
        for step in 1..self.size {
            let length = self.exchange(&(passing.len() as u64).to_le_bytes(), 8)?;
            passing = self.exchange(&passing, u64_at(&length, 0) as usize)?;
            all[(self.rank + self.size - step) % self.size].clone_from(&passing);
        }
        Ok(all)
    }
}

/// Rank 0: accepts the ranks, and sends each the address of the next. Gives its own next one's place.
fn host(launch: &Launch, me: Introduction, patience: Duration) -> Result<String, ParallelError> {
    let (address, size) = (format!("{}:{}", launch.address, launch.port), launch.size);
    // On all of its addresses: the name by which others know this machine may not be one of its own.
    let listener = TcpListener::bind(("0.0.0.0", launch.port))
        .map_err(|error| ParallelError::NoListener { address, reason: error.to_string() })?;
    let deadline = Instant::now() + patience;
    let mut guests: Vec<Option<(TcpStream, IpAddr, u64)>> = (0..size).map(|_| None).collect();
    let mut refused = None;
    while guests.iter().skip(1).any(Option::is_none) && refused.is_none() {
        let came = 1 + guests.iter().flatten().count();
        let Ok(mut stream) = accept(&listener, deadline) else {
            refused = Some(ParallelError::Missing { came, size, seconds: patience.as_secs() });
            break;
        };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        // A peer that introduces itself otherwise is no rank: a scanner of ports, say.
        let (Ok(Some(guest)), Ok(from)) = (Introduction::read(&mut stream), stream.peer_addr()) else { continue };
        let rank = guest.rank as usize;
        let what = if guest.size != me.size {
            Some(format!("counts {} ranks and not {}", guest.size, me.size))
        } else if guest.work != me.work {
            Some("has another recipe".to_owned())
        } else if rank == 0 || rank >= size || guests[rank].is_some() {
            Some("came twice".to_owned())
        } else {
            None
        };
        refused = what.map(|what| ParallelError::Other { rank, what });
        match guests.get_mut(rank) {
            Some(place @ None) => *place = Some((stream, from.ip(), guest.port)),
            _ => drop(answer(&mut stream, true, &refused.as_ref().map(ToString::to_string).unwrap_or_default())),
        }
    }
    let places: Vec<String> =
        guests.iter().map(|guest| guest.as_ref().map_or_else(String::new, |(_, ip, port)| place(*ip, *port))).collect();
    for (rank, guest) in guests.iter_mut().enumerate() {
        let Some((stream, ..)) = guest else { continue };
        let result = match &refused {
            Some(error) => answer(stream, true, &error.to_string()),
            // Rank 0 is where this one called; an empty address says so.
            None if rank + 1 == size => answer(stream, false, &format!(":{}", me.port)),
            None => answer(stream, false, &places[rank + 1]),
        };
        if let (Err(error), None) = (result, &refused) {
            return Err(ParallelError::Lost { rank: 0, neighbour: rank, reason: error.to_string() });
        }
    }
    match refused {
        Some(error) => Err(error),
        None => Ok(places[1].clone()),
    }
}

fn place(ip: IpAddr, port: u64) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    }
}

fn answer(stream: &mut TcpStream, refusal: bool, text: &str) -> io::Result<()> {
    let head = [u64::from(refusal), text.len() as u64];
    let bytes: Vec<u8> = head.into_iter().flat_map(u64::to_le_bytes).chain(text.bytes()).collect();
    stream.write_all(&bytes)
}

/// Any other rank: comes to rank 0, and hears where the next one listens.
fn ask(launch: &Launch, me: Introduction, patience: Duration) -> Result<String, ParallelError> {
    let (rank, address) = (launch.rank, format!("{}:{}", launch.address, launch.port));
    let lost = |error: io::Error| ParallelError::Lost { rank, neighbour: 0, reason: error.to_string() };
    let mut stream = connect(&address, Instant::now() + patience).map_err(|error| ParallelError::NoMeeting {
        rank,
        address: address.clone(),
        seconds: patience.as_secs(),
        reason: error.to_string(),
    })?;
    stream.write_all(&me.bytes()).map_err(lost)?;
    // Rank 0 answers when all have come.
    stream.set_read_timeout(Some(patience + Duration::from_secs(10))).map_err(lost)?;
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).map_err(lost)?;
    let mut text = vec![0; (u64_at(&head, 8) as usize).min(1 << 16)];
    stream.read_exact(&mut text).map_err(lost)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    if u64_at(&head, 0) != 0 {
        return Err(ParallelError::Other { rank: 0, what: format!("refuses: {text}") });
    }
    match text.strip_prefix(':') {
        Some(port) => Ok(format!("{}:{port}", launch.address)),
        None => Ok(text),
    }
}

/// Connects until there is an answer or the time is up.
fn connect(address: &str, deadline: Instant) -> io::Result<TcpStream> {
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Waits for a call until the time is up.
fn accept(listener: &TcpListener, deadline: Instant) -> io::Result<TcpStream> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() >= deadline {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_port() -> u16 {
        TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
    }

    fn launch(rank: usize, size: usize, port: u16) -> Launch {
        Launch { rank, size, local_rank: rank, local_size: Some(size), address: "127.0.0.1".to_owned(), port }
    }

    /// Runs each rank in a thread.
    fn ranks<T: Send>(size: usize, work: impl Fn(Ring) -> T + Sync) -> Vec<T> {
        let port = free_port();
        thread::scope(|scope| {
            let work = &work;
            let join = move |rank| {
                Ring::join_within(&launch(rank, size, port), b"work", Duration::from_secs(20)).map(work).unwrap()
            };
            let threads: Vec<_> = (0..size).map(|rank| scope.spawn(move || join(rank))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn sums_are_the_same_bits_on_every_rank() {
        for (size, length) in [(2, 1000), (3, 1001), (4, 3), (3, 0), (4, 100_003)] {
            let sums = ranks(size, |ring| {
                let mut wide: Vec<f64> = (0..length).map(|i| f64::from(value(ring.rank(), i))).collect();
                ring.all_reduce(&mut wide).unwrap();
                wide
            });
            for wide in &sums {
                assert_eq!(wide, &sums[0]);
                for (i, sum) in wide.iter().enumerate() {
                    let exact: f64 = (0..size).map(|rank| f64::from(value(rank, i))).sum();
                    assert!((sum - exact).abs() < 1e-9);
                }
            }
        }
    }

    fn value(rank: usize, i: usize) -> f32 {
        ((i * 7919 + rank * 104_729) % 1000) as f32 / 7.0 - 60.0
    }

    #[test]
    fn each_rank_has_the_sums_of_its_part_however_long_it_is() {
        let parts = |ends: &[usize]| -> Vec<Range<usize>> {
            ends.iter().scan(0, |start, &end| Some(std::mem::replace(start, end)..end)).collect()
        };
        for ends in [&[1, 1000][..], &[700, 700, 1001], &[0, 3, 3, 70_003]] {
            let (size, parts) = (ends.len(), &parts(ends));
            let length = ends[size - 1];
            let sums = ranks(size, |ring| {
                let (part, values) = (parts[ring.rank()].clone(), (0..length).map(|i| value(ring.rank(), i)));
                let mut single: Vec<f32> = values.clone().collect();
                ring.reduce_scatter_single(&mut single, parts).unwrap();
                let mut wide: Vec<f64> = values.map(f64::from).collect();
                ring.reduce_scatter(&mut wide, parts).unwrap();
                (single[part.clone()].to_vec(), wide[part].to_vec())
            });
            for (rank, (single, wide)) in sums.into_iter().enumerate() {
                for ((i, single), wide) in parts[rank].clone().zip(single).zip(wide) {
                    // The sum begins at the rank after its own, and goes round.
                    let order = (1..=size).map(|step| value((rank + step) % size, i));
                    assert_eq!(single.to_bits(), order.clone().reduce(|sum, value| sum + value).unwrap().to_bits());
                    assert_eq!(wide.to_bits(), order.map(f64::from).sum::<f64>().to_bits());
                }
            }
        }
    }

    #[test]
    fn what_ranks_give_comes_in_their_order() {
        for size in [2, 3, 4] {
            let all = ranks(size, |ring| ring.all_gather(vec![ring.rank() as u8; ring.rank() * 70_000]).unwrap());
            for given in all {
                for (rank, given) in given.iter().enumerate() {
                    assert_eq!(given, &vec![rank as u8; rank * 70_000]);
                }
            }
        }
    }

    #[test]
    fn a_rank_that_goes_away_is_an_error_and_no_waiting_for_ever() {
        let ends = ranks(3, |ring| if ring.rank() == 1 { None } else { Some(ring.all_gather(vec![1]).map(drop)) });
        for end in ends.into_iter().flatten() {
            let error = end.unwrap_err().to_string();
            assert!(error.contains("lost its neighbour"), "{error}");
        }
    }

    #[test]
    fn ranks_with_other_work_or_numbers_are_refused_everywhere() {
        let port = free_port();
        let patience = Duration::from_secs(10);
        let other = |rank, size, work: &[u8]| {
            Ring::join_within(&launch(rank, size, port), work, patience).map(drop).unwrap_err().to_string()
        };
        for (size, work, expected) in [(2, &b"b"[..], "has another recipe"), (3, b"a", "counts 3 ranks and not 2")] {
            let (host, guest) = thread::scope(|scope| {
                let host = scope.spawn(|| other(0, 2, b"a"));
                let guest = scope.spawn(|| other(1, size, work));
                (host.join().unwrap(), guest.join().unwrap())
            });
            assert!(host.contains(&format!("rank 1 {expected}")), "{host}");
            assert!(guest.contains("rank 0 refuses") && guest.contains(expected), "{guest}");
        }
    }

    #[test]
    fn a_meeting_to_which_not_all_come_ends() {
        let port = free_port();
        let short = Duration::from_secs(1);
        let host = Ring::join_within(&launch(0, 2, port), b"", short).map(drop).unwrap_err().to_string();
        assert!(host.starts_with("1 of 2 ranks came within 1 s"), "{host}");
        let guest = Ring::join_within(&launch(1, 2, port), b"", short).map(drop).unwrap_err().to_string();
        assert!(guest.starts_with(&format!("rank 1 found nobody at 127.0.0.1:{port} within 1 s")), "{guest}");
    }
}
