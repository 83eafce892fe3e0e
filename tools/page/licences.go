package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Licences of packages that come without the text.
var (
	//go:embed niivue.txt
	niivueLicence []byte
	//go:embed dcm2niix.txt
	dcm2niixLicence []byte

	missing = map[string][]byte{"@niivue/niivue": niivueLicence, "@niivue/dcm2niix": dcm2niixLicence}
)

// licences collects the notices of all that the page consists of: the project,
// Go and the modules in the wasm file, and the npm packages among inputs (paths
// from root).
func licences(root string, inputs []string) ([]byte, error) {
	var b strings.Builder
	add := func(title string, text []byte) {
		fmt.Fprintf(&b, "%s\n%s\n\n%s\n\n\n", title, strings.Repeat("=", len(title)), strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")))
	}
	own, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		return nil, err
	}
	add("wgjepa", own)
	modules, err := goModules(root)
	if err != nil {
		return nil, err
	}
	for _, m := range modules {
		text, err := licence(m[1])
		if err != nil {
			return nil, err
		}
		add(m[0], text)
	}
	for _, folder := range packages(inputs) {
		var about struct{ Name, Version string }
		text, err := os.ReadFile(filepath.Join(root, folder, "package.json"))
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &about); err != nil {
			return nil, fmt.Errorf("%s/package.json: %w", folder, err)
		}
		text, err = licence(filepath.Join(root, folder))
		if err != nil && missing[about.Name] != nil {
			text, err = missing[about.Name], nil
		}
		if err != nil {
			return nil, err
		}
		add(about.Name+" "+about.Version, text)
	}
	return []byte(b.String()), nil
}

// packages are the folders of npm packages that inputs lie in.
func packages(inputs []string) []string {
	var folders []string
	for _, input := range inputs {
		before, after, ok := cutLast(input, "node_modules/")
		if !ok {
			continue
		}
		name := strings.SplitN(after, "/", 3)
		n := 1
		if strings.HasPrefix(after, "@") {
			n = 2
		}
		folders = append(folders, before+"node_modules/"+path.Join(name[:n]...))
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// licence reads the text that lies in a package's folder.
func licence(folder string) ([]byte, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name := strings.ToLower(strings.TrimSuffix(e.Name(), path.Ext(e.Name())))
		if e.Type().IsRegular() && (name == "license" || name == "licence" || name == "copying") {
			return os.ReadFile(filepath.Join(folder, e.Name()))
		}
	}
	return nil, fmt.Errorf("%s has no file of its licence: what is bundled needs its notice", folder)
}

// goModules lists title and folder of Go itself and of each module in the wasm
// file.
func goModules(root string) ([][2]string, error) {
	run := func(args ...string) (string, error) {
		cmd := exec.Command("go", args...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out)), nil
	}
	goroot, err := run("env", "GOROOT")
	if err != nil {
		return nil, err
	}
	list, err := run("list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}", "./wasm")
	if err != nil {
		return nil, err
	}
	modules := [][2]string{{"Go", goroot}}
	lines := strings.Split(list, "\n")
	slices.Sort(lines)
	for _, line := range slices.Compact(lines) {
		if title, folder, ok := strings.Cut(line, "\t"); ok {
			modules = append(modules, [2]string{title, folder})
		}
	}
	return modules, nil
}
