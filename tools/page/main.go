// Command page bundles the page of www/ into a folder that any static host can
// serve, at any path:
//
//	go -C tools run ./page            build/www, from www/ and build/wasm
//
// It runs esbuild through its Go API, so no Node is involved; the npm packages
// of www/package.json have to be installed beside it (scripts/page.sh does).
//
// The folder holds
//
//	index.html, sw.js          under these names; never to be cached by a host
//	app-HASH.js, chunks        www/app.js, split where it imports dynamically
//	worker-HASH.js             Go's half of the runtime and wasm/worker.js
//	wgjepa-HASH.wasm           the program
//	dcm2niix-HASH.js, .wasm    what decodes compressed DICOM, loaded for that alone
//	style-HASH.css, icons, …   the rest of www/
//	licences.txt               of everything that is in the above
//	*.gz                       the same, compressed, for hosts that can send it
//
// Names with a hash change with the content, so they may be cached for ever.
// sw.js has the list of all files with their digests and a version, which is the
// digest of everything.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", "..", "folder of the project")
	out := flag.String("out", "", "folder to write (default build/www in the project)")
	flag.Parse()
	if *out == "" {
		*out = filepath.Join(*root, "build", "www")
	}
	if err := run(*root, *out); err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
}

func run(root, out string) error {
	p, err := bundle(root)
	if err != nil {
		return err
	}
	if err := p.write(out); err != nil {
		return err
	}
	for _, f := range p.files {
		note := ""
		if f.lazy {
			note = "  when needed"
		}
		fmt.Printf("%9.1f KiB %9.1f KiB gzipped  %s%s\n", float64(len(f.content))/1024, float64(len(f.packed))/1024, f.name, note)
	}
	fmt.Printf("version %s in %s\n", p.version, out)
	return nil
}
