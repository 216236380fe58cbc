//! An input as a sequence of choices.

/// Reads an input from its start. After the end, every number is zero and every text empty, so that
/// no input is too short.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Starts at the beginning of an input.
    #[must_use]
    pub fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// The next `length` bytes, or all that are left.
    pub fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (now, later) = self.0.split_at(length.min(self.0.len()));
        self.0 = later;
        now
    }

    /// All bytes that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Whether all bytes have been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    /// One bit, for which a whole byte is read.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Two bytes as a number.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Eight bytes as a big-endian number: short inputs give large numbers.
    pub fn u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        let given = self.bytes(8);
        bytes[..given.len()].copy_from_slice(given);
        u64::from_be_bytes(bytes)
    }

    /// A position in something of `length` bytes; zero if it is empty.
    pub fn position(&mut self, length: usize) -> usize {
        let bytes = self.bytes(4);
        let number = bytes
            .iter()
            .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        if length == 0 { 0 } else { number % length }
    }

    /// One of the items.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::from(self.byte()) % items.len()]
    }

    /// A text of at most 255 bytes, preceded by its length. Invalid UTF-8 is replaced.
    pub fn text(&mut self) -> String {
        let length = usize::from(self.byte());
        String::from_utf8_lossy(self.bytes(length)).into_owned()
    }

    /// Sizes of pieces in order; they repeat from the beginning.
    pub fn pieces(&mut self) -> Pieces {
        let count = usize::from(self.byte() % 8);
        let sizes = (0..count).map(|_| usize::from(self.byte())).collect();
        Pieces(sizes)
    }

    /// Changes one byte of `bytes` to another value; false if there is none.
    pub fn mutate(&mut self, bytes: &mut [u8]) -> bool {
        let position = self.position(bytes.len());
        // Zero would change nothing.
        let change = self.byte().max(1);
        match bytes.get_mut(position) {
            Some(byte) => {
                *byte ^= change;
                true
            }
            None => false,
        }
    }
}

/// The cuts of a byte stream. Without sizes, it is one piece.
#[derive(Clone)]
pub struct Pieces(Vec<usize>);

impl Pieces {
    /// A single piece.
    #[must_use]
    pub fn whole() -> Self {
        Self(Vec::new())
    }

    /// The same cuts with every size multiplied by `unit`.
    #[must_use]
    pub fn scaled(&self, unit: usize) -> Self {
        Self(self.0.iter().map(|size| size.max(&1) * unit).collect())
    }

    /// The sizes, endlessly repeated; each is at least 1 and at most `usize::MAX`.
    pub fn sizes(&self) -> impl Iterator<Item = usize> + '_ {
        let sizes = self.0.iter().map(|size| (*size).max(1));
        sizes.cycle().chain(std::iter::repeat(usize::MAX))
    }

    /// The pieces of `bytes`.
    pub fn of<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
        let mut rest = bytes;
        let pieces = self.sizes().map_while(|size| {
            let (now, later) = rest.split_at(size.min(rest.len()));
            rest = later;
            (!now.is_empty()).then_some(now)
        });
        pieces.collect::<Vec<_>>().into_iter()
    }
}
