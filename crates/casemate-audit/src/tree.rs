//! The Merkle tree of RFC 6962, section 2.1.

use aws_lc_rs::digest::{Context, SHA256};
use subtle::ConstantTimeEq as _;

use crate::AuditError;

/// A hash of an entry or a subtree.
pub type Hash = [u8; 32];

/// Returns the hash of an entry.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    hash(&[&[0], entry])
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    hash(&[&[1], left, right])
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The right edge of a tree: all that is needed to append to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Roots of the perfect subtrees, from the largest to the smallest.
    roots: Vec<Hash>,
}

impl Frontier {
    /// Assembles a frontier; `None` unless it has one root for each bit of its size.
    pub fn from_parts(size: u64, roots: Vec<Hash>) -> Option<Self> {
        let fits = roots.len() as u64 == u64::from(size.count_ones());
        fits.then_some(Self { size, roots })
    }

    /// Returns the number of entries.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the roots of the perfect subtrees, from the largest to the smallest.
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Appends an entry.
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Each bit that is 1 at the end is a subtree of the same size as the new one.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.roots.push(hash);
        self.size = self.size.saturating_add(1);
    }

    /// Returns the root of the tree.
    pub fn root(&self) -> Hash {
        let smaller = self.roots.iter().rev();
        let root = smaller
            .copied()
            .reduce(|right, left| node_hash(&left, &right));
        root.unwrap_or_else(|| hash(&[]))
    }
}

/// Returns the root of a tree with these leaves.
pub fn root_of(leaves: impl IntoIterator<Item = Hash>) -> Hash {
    let mut frontier = Frontier::default();
    leaves.into_iter().for_each(|leaf| frontier.append(leaf));
    frontier.root()
}

/// Returns the length of the left subtree: the largest power of two below `size`.
const fn left_size(size: usize) -> usize {
    match size.checked_next_power_of_two() {
        Some(power) if power >= size => power >> 1,
        _ => 1 << (usize::BITS - 1),
    }
}

/// Returns the inclusion proof of a leaf (RFC 6962, section 2.1.1); `None` if there is no such
/// leaf.
pub fn inclusion_proof(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let (mut below, mut at) = (leaves, index);
    let mut proof = Vec::new();
    while below.len() > 1 {
        let (left, right) = below.split_at_checked(left_size(below.len()))?;
        if at < left.len() {
            proof.push(root_of(right.iter().copied()));
            below = left;
        } else {
            proof.push(root_of(left.iter().copied()));
            at = at.checked_sub(left.len())?;
            below = right;
        }
    }
    proof.reverse();
    Some(proof)
}

/// Verifies an inclusion proof (RFC 9162, section 2.1.3.2).
///
/// # Errors
///
/// [`AuditError::BadProof`].
pub fn verify_inclusion(
    leaf: Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), AuditError> {
    if index >= size {
        return Err(AuditError::BadProof);
    }
    let (mut node, mut last) = (index, size.saturating_sub(1));
    let mut hash = leaf;
    for sibling in proof {
        if last == 0 {
            return Err(AuditError::BadProof);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && bool::from(hash.ct_eq(root)) {
        Ok(())
    } else {
        Err(AuditError::BadProof)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The inputs and roots of RFC 6962's reference implementation (certificate-transparency,
    /// `merkle_tree_test.cc`), sizes 0 to 8.
    const INPUTS: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_are_those_of_the_reference_implementation() {
        let leaves: Vec<_> = INPUTS
            .iter()
            .map(|input| leaf_hash(&hex::decode(input).unwrap()))
            .collect();
        let mut frontier = Frontier::default();
        for (size, expected) in ROOTS.iter().enumerate() {
            assert_eq!(
                hex::encode(root_of(leaves[..size].iter().copied())),
                *expected
            );
            assert_eq!(
                (frontier.size(), hex::encode(frontier.root())),
                (size as u64, (*expected).to_owned())
            );
            if let Some(leaf) = leaves.get(size) {
                frontier.append(*leaf);
            }
        }
    }

    fn leaves(size: usize) -> Vec<Hash> {
        (0..size)
            .map(|number| leaf_hash(&number.to_be_bytes()))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn proofs_verify_for_their_entry_place_size_and_root_only(size in 1_usize..200, seed: usize) {
            let leaves = leaves(size);
            let index = seed % size;
            let proof = inclusion_proof(&leaves, index).unwrap();
            let root = root_of(leaves.iter().copied());
            let check = |leaf: Hash, index: usize, size: usize, proof: &[Hash], root: &Hash| {
                verify_inclusion(leaf, index as u64, size as u64, proof, root).is_ok()
            };
            let leaf = leaves[index];
            prop_assert!(check(leaf, index, size, &proof, &root));
            prop_assert!(!check([7; 32], index, size, &proof, &root));
            prop_assert!(!check(leaf, index, size, &proof, &[7; 32]));
            prop_assert!(!check(leaf, index, size + size.next_power_of_two() + 1, &proof, &root));
            prop_assert!(!check(leaf, size, size, &proof, &root));
            let other = (index + 1) % size;
            prop_assert!(other == index || !check(leaf, other, size, &proof, &root));
            let longer = [&proof[..], &[[7; 32]]].concat();
            prop_assert!(!check(leaf, index, size, &longer, &root));
            if let Some((_, shorter)) = proof.split_last() {
                prop_assert!(!check(leaf, index, size, shorter, &root));
            }
        }
    }

    #[test]
    fn a_frontier_has_a_root_for_each_bit_of_its_size() {
        let mut frontier = Frontier::default();
        for leaf in leaves(11) {
            frontier.append(leaf);
        }
        let roots = frontier.roots().to_vec();
        assert_eq!(Frontier::from_parts(11, roots.clone()), Some(frontier));
        assert_eq!(Frontier::from_parts(12, roots), None);
        assert_eq!(inclusion_proof(&leaves(3), 3), None);
    }
}
