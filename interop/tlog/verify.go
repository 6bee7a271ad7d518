// Verifies an exported audit log and a proof with Go's own implementations of signed notes and
// transparency logs: verify FOLDER KEYS PROOF
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(path string) []byte {
	content, err := os.ReadFile(path)
	check(err)
	return content
}

// open verifies the Ed25519 signature of a checkpoint and returns its tree. The other signature is
// of a type that this version of Go does not know, and is ignored.
func open(signed []byte, vkey string) tlog.Tree {
	verifier, err := note.NewVerifier(vkey)
	check(err)
	opened, err := note.Open(signed, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	hash, err := tlog.ParseHash(lines[2])
	check(err)
	return tlog.Tree{N: size, Hash: hash}
}

// entries reads the bundles of a log.
func entries(folder string, size int64) [][]byte {
	var found [][]byte
	for first := int64(0); first < size; first += 256 {
		path := fmt.Sprintf("tile/entries/%03d", first/256)
		if size-first < 256 {
			path += fmt.Sprintf(".p/%d", size-first)
		}
		bundle := read(filepath.Join(folder, path))
		for len(bundle) > 0 {
			length := int(binary.BigEndian.Uint16(bundle))
			found = append(found, bundle[2:2+length])
			bundle = bundle[2+length:]
		}
	}
	return found
}

func main() {
	folder, keys, proof := os.Args[1], os.Args[2], os.Args[3]
	vkey := strings.SplitN(string(read(keys)), "\n", 2)[0]
	tree := open(read(filepath.Join(folder, "checkpoint")), vkey)
	all := entries(folder, tree.N)
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, index := range indexes {
			hashes = append(hashes, stored[index])
		}
		return hashes, nil
	})
	for number, entry := range all {
		hashes, err := tlog.StoredHashes(int64(number), entry, reader)
		check(err)
		stored = append(stored, hashes...)
	}
	root, err := tlog.TreeHash(tree.N, reader)
	check(err)
	if int64(len(all)) != tree.N || root != tree.Hash {
		check(fmt.Errorf("the entries do not have the root of the checkpoint"))
	}
	head, checkpoint, _ := strings.Cut(string(read(proof)), "\n\n")
	lines := strings.Split(head, "\n")
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	check(err)
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[2], "entry "))
	check(err)
	var path tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		check(err)
		path = append(path, hash)
	}
	proven := open([]byte(checkpoint), vkey)
	check(tlog.CheckRecord(path, proven.N, proven.Hash, index, tlog.RecordHash(entry)))
	// The log that was proven is the beginning of the one that was exported, or the other way round.
	fewer, more := proven, tree
	if fewer.N > more.N {
		fewer, more = more, fewer
	}
	if more == tree {
		consistency, err := tlog.ProveTree(more.N, fewer.N, reader)
		check(err)
		check(tlog.CheckTree(consistency, more.N, more.Hash, fewer.N, fewer.Hash))
	}
	fmt.Printf("%d entries, %s\n", tree.N, entry)
}
