//! Limited capacity that owners share, so that no owner can exhaust it.
//!
//! The limit of an owner is dynamic: it depends on the free places ("dynamic queue length thresholds", Choudhury and
//! Hahne, 1998). The more the others take, the smaller the limit becomes, and an owner above its limit gets nothing
//! until some of its places are free again. No place is revoked, and a new owner gets one while one is free.

use std::collections::HashMap;
use std::hash::Hash;

/// The ratio of an owner's places to the free places.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// So many places of the owner…
    places: usize,
    /// …for so many free ones.
    free: usize,
}

/// A quarter of the free places: one owner alone gets a fifth of the capacity, and ten greedy owners leave a tenth of
/// it. For owners that keep their places for long.
pub const QUARTER: Bound = Bound { places: 1, free: 4 };
/// Three times the free places: one owner alone gets three quarters of the capacity. For owners that soon free their
/// places, one of which may cause most of the load.
pub const TRIPLE: Bound = Bound { places: 3, free: 1 };

impl Bound {
    /// Whether an owner with `held` places may take one more while `free` are free.
    #[must_use]
    pub fn admits(self, held: usize, free: usize) -> bool {
        held.saturating_mul(self.free) < free.saturating_mul(self.places)
    }

    /// The places that an owner without competitors gets.
    #[must_use]
    pub fn alone(self, capacity: usize) -> usize {
        capacity.saturating_mul(self.places).div_ceil(self.places + self.free)
    }
}

/// The number of places of each owner.
#[derive(Debug)]
pub struct FairShare<K> {
    bound: Bound,
    capacity: usize,
    used: usize,
    of: HashMap<K, usize>,
}

impl<K: Clone + Eq + Hash> FairShare<K> {
    /// Capacity of `capacity` places, all of them free.
    #[must_use]
    pub fn new(bound: Bound, capacity: usize) -> Self {
        Self { bound, capacity, used: 0, of: HashMap::new() }
    }

    /// Capacity in which each item of `owners` has one place.
    pub fn counted(bound: Bound, capacity: usize, owners: impl IntoIterator<Item = K>) -> Self {
        let mut shares = Self::new(bound, capacity);
        owners.into_iter().for_each(|owner| shares.count(owner));
        shares
    }

    /// Takes a place, if the owner is below its limit.
    pub fn take(&mut self, owner: &K) -> bool {
        let places = self.of.get(owner).copied().unwrap_or_default();
        let is_below = self.bound.admits(places, self.capacity.saturating_sub(self.used));
        if is_below {
            self.count(owner.clone());
        }
        is_below
    }

    /// Takes a place that was granted elsewhere, if one is free.
    pub fn take_granted(&mut self, owner: &K) -> bool {
        let is_free = self.used < self.capacity;
        if is_free {
            self.count(owner.clone());
        }
        is_free
    }

    /// Frees a place of the owner.
    pub fn free(&mut self, owner: &K) {
        self.free_many(owner, 1);
    }

    /// Frees so many places of the owner, or all that it has.
    pub fn free_many(&mut self, owner: &K, number: usize) {
        let Some(places) = self.of.get_mut(owner) else { return };
        let number = number.min(*places);
        *places -= number;
        self.used -= number;
        if *places == 0 {
            self.of.remove(owner);
        }
    }

    /// The places that are taken.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether all places are free.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn count(&mut self, owner: K) {
        *self.of.entry(owner).or_default() += 1;
        self.used += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of an owner that takes as many as it can.
    fn fill(shares: &mut FairShare<u32>, owner: u32) -> usize {
        std::iter::from_fn(|| shares.take(&owner).then_some(())).count()
    }

    #[test]
    fn an_owner_alone_gets_a_fifth_and_ten_greedy_ones_leave_a_tenth() {
        let mut shares = FairShare::new(QUARTER, 10_000);
        assert_eq!((fill(&mut shares, 0), QUARTER.alone(10_000)), (2_000, 2_000));
        let greedy: usize = (1..10).map(|owner| fill(&mut shares, owner)).sum();
        assert!((8_900..9_000).contains(&(2_000 + greedy)), "{greedy}");
        assert!(fill(&mut shares, 10) >= 200, "the next one still gets a useful number");
    }

    #[test]
    fn a_single_owner_gets_three_quarters_of_slots_that_are_soon_free_again() {
        let mut shares = FairShare::new(TRIPLE, 400);
        assert_eq!([0, 1, 2].map(|owner| fill(&mut shares, owner)), [300, 75, 19]);
        assert_eq!(TRIPLE.alone(400), 300);
        assert!(shares.take(&3), "a newcomer gets a place");
        (0..20).for_each(|_| shares.free(&0));
        assert!(!shares.take(&0), "280 held, 25 free");
        (0..130).for_each(|_| shares.free(&0));
        assert!(shares.take(&0));
    }

    #[test]
    fn an_owner_above_its_bound_does_not_get_back_the_slots_that_it_frees() {
        let mut shares = FairShare::new(QUARTER, 100);
        assert_eq!(fill(&mut shares, 0), 20);
        (1..5).for_each(|owner| assert!(fill(&mut shares, owner) > 0));
        for _ in 0..9 {
            shares.free(&0);
            assert!(!shares.take(&0), "it has more than a quarter of what is free");
            assert!(shares.take(&7), "and another owner gets the place");
            shares.free(&7);
        }
    }

    #[test]
    fn a_new_owner_gets_the_last_free_slot_and_no_owner_gets_more_than_exist() {
        let mut shares = FairShare::new(QUARTER, 3);
        assert_eq!((0..10).map(|owner| fill(&mut shares, owner)).collect::<Vec<_>>()[..5], [1, 1, 1, 0, 0]);
        assert!(!shares.take_granted(&0));
        shares.free(&1);
        assert!(shares.take_granted(&0) && !shares.take(&5));
        (0..3).for_each(|owner| shares.free(&owner));
        shares.free(&0);
        assert!(shares.is_empty() && shares.of.is_empty());
        shares.free(&0);
        assert!(shares.is_empty(), "a place is not freed twice");
    }

    #[test]
    fn slots_are_recounted_from_their_current_owners() {
        let mut shares = FairShare::counted(QUARTER, 10, [1, 1, 2]);
        assert!(!shares.take(&1) && shares.take(&2), "8 of 7 free, and 4 of 7 free");
    }
}
