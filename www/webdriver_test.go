//go:build !js

package www

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The other browsers speak WebDriver: WebKit by its driver, over HTTP, and
// Firefox by Marionette, the same commands over a socket, so that it needs no
// program beside it. Both skip where the browser is not installed.

// element is how WebDriver refers to an element.
const element = "element-6066-11e4-a52e-4f735466cecf"

// driven is one window of a browser that WebDriver drives.
type driven struct {
	t    testing.TB
	send func(within time.Duration, command string, parameters any) (json.RawMessage, error)
}

// tell says on failure what the page says.
func (b *driven) tell() {
	b.t.Cleanup(func() {
		if b.t.Failed() {
			said, err := evaluated[string](b, `[document.documentElement.dataset.state, ...[...document.querySelectorAll("#status, #fit, #progress-text, #messages, [role=alert]:not([hidden])")].map((e) => e.id + ": " + e.innerText)].join("\n")`)
			b.t.Logf("the page said (%v):\n%s", err, said)
		}
	})
}

func (b *driven) do(command string, parameters any) json.RawMessage {
	b.t.Helper()
	answer, err := b.send(waits, command, parameters)
	require.NoError(b.t, err, command)
	return answer
}

func (b *driven) open(url string) {
	b.t.Helper()
	b.do("Navigate", map[string]any{"url": url})
}

// evaluated evaluates an expression of JavaScript in the page and awaits it.
func evaluated[T any](b *driven, expression string) (T, error) {
	var answer struct {
		Value struct {
			Value T
			Error string
		}
	}
	raw, err := b.send(trains, "ExecuteAsyncScript", map[string]any{
		"script": `const done = arguments[arguments.length - 1];
			Promise.resolve().then(() => (` + expression + `)).then((value) => done({ value }), (e) => done({ error: String(e) }));`,
		"args": []any{},
	})
	if err == nil {
		err = json.Unmarshal(raw, &answer)
	}
	if err == nil && answer.Value.Error != "" {
		err = errors.New(answer.Value.Error)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", expression, err)
	}
	return answer.Value.Value, err
}

func value[T any](b *driven, expression string) T {
	b.t.Helper()
	v, err := evaluated[T](b, expression)
	require.NoError(b.t, err)
	return v
}

// until waits for an expression to be true.
func (b *driven) until(within time.Duration, expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
		yes, err := evaluated[bool](b, "Promise.resolve("+expression+").then(Boolean)")
		if err == nil && yes {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(b.t, err)
			require.Fail(b.t, "it did not become true within "+within.String(), expression)
		}
	}
}

func (b *driven) state(state string) {
	b.t.Helper()
	b.until(waits, "document.documentElement.dataset.state === "+quote(state))
}

func (b *driven) text(id string) string {
	b.t.Helper()
	return value[string](b, "document.getElementById("+quote(id)+").innerText")
}

func (b *driven) says(id, part string) string {
	b.t.Helper()
	b.until(waits, "document.getElementById("+quote(id)+").innerText.includes("+quote(part)+")")
	return b.text(id)
}

func (b *driven) find(id string) string {
	b.t.Helper()
	var found struct{ Value map[string]string }
	require.NoError(b.t, json.Unmarshal(b.do("FindElement", map[string]any{"using": "css selector", "value": "#" + id}), &found))
	return found.Value[element]
}

// click presses what has an id, as a mouse does.
func (b *driven) click(id string) {
	b.t.Helper()
	b.until(waits, "!document.getElementById("+quote(id)+").disabled")
	value[any](b, "void document.getElementById("+quote(id)+").scrollIntoView({ block: 'center' })")
	b.do("ElementClick", map[string]any{"id": b.find(id)})
}

// choose gives files to an input.
func (b *driven) choose(id string, files ...string) {
	b.t.Helper()
	b.do("ElementSendKeys", map[string]any{"id": b.find(id), "text": strings.Join(files, "\n")})
}

// drop drops files, as the page itself can make them: WebDriver has no drag from
// outside.
func (b *driven) drop(paths ...string) {
	b.t.Helper()
	files := map[string][]byte{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		require.NoError(b.t, err)
		files[filepath.Base(path)] = content
	}
	value[any](b, `(() => {
		const dataTransfer = new DataTransfer();
		for (const [name, text] of Object.entries(`+quote(files)+`)) dataTransfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
		for (const kind of ["dragenter", "dragover", "drop"]) document.getElementById("drop").dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer }));
	})()`)
}

// configure imports settings and waits until they are taken.
func (b *driven) configure(conf string) {
	b.t.Helper()
	b.until(waits, `document.getElementById("status").textContent.endsWith("ready.")`)
	value[any](b, `void delete document.getElementById("fit").dataset.fits`)
	b.choose("config-import", write(b.t, b.t.TempDir(), "config.toml", []byte(conf)))
	b.until(waits, `document.getElementById("preset").value === "own" && document.getElementById("status").textContent.endsWith("ready.") && document.getElementById("fit").dataset.fits === "true"`)
}

// trains trains on generated volumes to the end, and waits for the probe.
func (b *driven) trains(conf, ends string) {
	b.t.Helper()
	b.click("try-generated")
	b.state("data")
	b.configure(conf)
	start := time.Now()
	b.click("train")
	b.state("training")
	b.until(trains, "wgjepaPage.step() > 0")
	first := time.Since(start)
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.says("progress-text", ends)
	b.t.Logf("first step after %.1f s, all after %.1f s", first.Seconds(), time.Since(start).Seconds())
	b.until(trains, `document.getElementById("probe-says").innerText.startsWith("After " + wgjepaPage.step().toLocaleString("en") + " update") && !document.getElementById("probe-now").disabled`)
	require.NotZero(b.t, value[int](b, `document.querySelectorAll("#probe-table tbody tr").length`))
}

// picture writes what the window shows, in Firefox the whole page, to a file.
func (b *driven) picture(path string) {
	b.t.Helper()
	var shot struct{ Value []byte }
	require.NoError(b.t, json.Unmarshal(b.do("TakeScreenshot", map[string]any{"full": true}), &shot))
	require.NoError(b.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(b.t, os.WriteFile(path, shot.Value, 0o644))
}

// window sizes the browser's window.
func (b *driven) window(width, height int) {
	b.t.Helper()
	b.do("SetWindowRect", map[string]any{"x": 0, "y": 0, "width": width, "height": height})
}

// started starts a program that ends with the test, and says what it printed where that fails.
func started(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "output")
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		if content, _ := os.ReadFile(out.Name()); t.Failed() {
			t.Logf("%s printed:\n%s", cmd.Path, content[max(0, len(content)-5000):])
		}
		out.Close()
	})
}

// freePort is a port of this machine that nobody listens at.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// firefox starts a Firefox with a profile of its own and further preferences.
func firefox(t testing.TB, preferences map[string]any) *driven {
	t.Helper()
	path, err := exec.LookPath("firefox-esr")
	if name := os.Getenv("FIREFOX"); name != "" {
		path, err = exec.LookPath(name)
	}
	if err != nil {
		t.Skip("Firefox is not installed: apt-get install firefox-esr, or FIREFOX names one")
	}
	profile, err := os.MkdirTemp("", "wgjepa-firefox")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(profile) })
	port := freePort(t)
	all := map[string]any{
		"marionette.port": port,
		// What Firefox would ask for on its own account.
		"app.update.enabled": false, "app.normandy.enabled": false, "datareporting.healthreport.uploadEnabled": false,
		"toolkit.telemetry.enabled": false, "browser.safebrowsing.malware.enabled": false, "browser.safebrowsing.phishing.enabled": false,
		"network.captive-portal-service.enabled": false, "network.connectivity-service.enabled": false, "browser.shell.checkDefaultBrowser": false,
		"browser.aboutwelcome.enabled": false, "datareporting.policy.dataSubmissionEnabled": false, "extensions.update.enabled": false,
		"services.settings.server": "data:,", "browser.download.useDownloadDir": true, "browser.download.folderList": 2,
		"browser.download.dir": profile + "/downloads", "dom.disable_open_during_load": false,
	}
	for name, v := range preferences {
		all[name] = v
	}
	var lines strings.Builder
	for name, v := range all {
		fmt.Fprintf(&lines, "user_pref(%s, %s);\n", quote(name), quote(v))
	}
	write(t, profile, "user.js", []byte(lines.String()))
	cmd := exec.Command(path, "--headless", "--no-remote", "--profile", profile, "--marionette", "--remote-allow-system-access", "about:blank")
	cmd.Env = append(os.Environ(), "MOZ_HEADLESS_WIDTH=1440", "MOZ_HEADLESS_HEIGHT=1100", "HOME="+profile)
	started(t, cmd)

	var c net.Conn
	for deadline := time.Now().Add(waits); ; time.Sleep(100 * time.Millisecond) {
		if c, err = net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			break
		}
		require.True(t, time.Now().Before(deadline), "Firefox does not answer: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	r := bufio.NewReader(c)
	receive := func() (json.RawMessage, error) {
		length, err := r.ReadString(':')
		if err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
		if err != nil {
			return nil, err
		}
		message := make(json.RawMessage, n)
		_, err = io.ReadFull(r, message)
		return message, err
	}
	_, err = receive() // its greeting
	require.NoError(t, err)
	var mu sync.Mutex
	last := 0
	b := &driven{t: t}
	b.send = func(within time.Duration, command string, parameters any) (json.RawMessage, error) {
		mu.Lock()
		defer mu.Unlock()
		if !strings.Contains(command, ":") {
			command = "WebDriver:" + command
		}
		last++
		text := quote([]any{0, last, command, parameters})
		c.SetDeadline(time.Now().Add(within))
		if _, err := fmt.Fprintf(c, "%d:%s", len(text), text); err != nil {
			return nil, err
		}
		raw, err := receive()
		if err != nil {
			return nil, err
		}
		var answer [4]json.RawMessage // 1, id, error, result
		if err := json.Unmarshal(raw, &answer); err != nil {
			return nil, err
		}
		if string(answer[2]) != "null" {
			return nil, fmt.Errorf("firefox: %s", answer[2])
		}
		return answer[3], nil
	}
	var session struct {
		Capabilities struct{ BrowserName, BrowserVersion string }
	}
	require.NoError(t, json.Unmarshal(b.do("NewSession", map[string]any{}), &session))
	b.do("SetTimeouts", map[string]any{"script": trains.Milliseconds()})
	b.tell()
	t.Log(session.Capabilities.BrowserName, session.Capabilities.BrowserVersion)
	return b
}

// virtualDisplay starts a display that nobody sees.
func virtualDisplay(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("Xvfb"); err != nil {
		t.Skip("there is no display, and no Xvfb to make one: apt-get install xvfb")
	}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	cmd := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", "2000x4000x24", "-nolisten", "tcp")
	cmd.ExtraFiles = []*os.File{w}
	started(t, cmd)
	w.Close()
	number, err := bufio.NewReader(r).ReadString('\n')
	require.NoError(t, err)
	return ":" + strings.TrimSpace(number)
}

// webkit starts WebKitGTK's little browser.
func webkit(t testing.TB, args ...string) *driven {
	t.Helper()
	if _, err := exec.LookPath("WebKitWebDriver"); err != nil {
		t.Skip("WebKit is not installed: apt-get install webkit2gtk-driver xvfb")
	}
	binaries, _ := filepath.Glob("/usr/lib/*/webkit2gtk-4.1/MiniBrowser")
	if len(binaries) == 0 {
		t.Skip("MiniBrowser, the browser of webkit2gtk-driver, is absent")
	}
	port := strconv.Itoa(freePort(t))
	display := os.Getenv("DISPLAY")
	if display == "" {
		display = virtualDisplay(t)
	}
	cmd := exec.Command("WebKitWebDriver", "--port="+port)
	// Not t.TempDir: the browser may still write into it while it ends.
	home, err := os.MkdirTemp("", "wgjepa-webkit")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(home) })
	// A locale, for WebKit takes the name of C.UTF-8 for a language.
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home+"/data", "XDG_CACHE_HOME="+home+"/cache", "LANG=C", "LC_ALL=C", "DISPLAY="+display)
	started(t, cmd)

	at := "http://127.0.0.1:" + port
	ask := func(within time.Duration, method, path string, parameters any) (json.RawMessage, error) {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		var body io.Reader
		if method == http.MethodPost {
			body = bytes.NewReader([]byte(quote(parameters)))
		}
		request, err := http.NewRequestWithContext(ctx, method, at+path, body)
		if err != nil {
			return nil, err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		content, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("webkit: %s", content)
		}
		return content, err
	}
	for deadline := time.Now().Add(waits); ; time.Sleep(100 * time.Millisecond) {
		_, err := ask(time.Second, http.MethodGet, "/status", nil)
		if err == nil {
			break
		}
		require.True(t, time.Now().Before(deadline), "WebKitWebDriver does not answer: %v", err)
	}
	content, err := ask(waits, http.MethodPost, "/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"webkitgtk:browserOptions": map[string]any{"binary": binaries[0], "args": append([]string{"--automation"}, args...)},
	}}})
	require.NoError(t, err)
	var session struct {
		Value struct {
			SessionID    string
			Capabilities struct{ BrowserName, BrowserVersion string }
		}
	}
	require.NoError(t, json.Unmarshal(content, &session))
	t.Cleanup(func() { ask(waits, http.MethodDelete, "/session/"+session.Value.SessionID, nil) })
	b := &driven{t: t}
	b.send = func(within time.Duration, command string, parameters any) (json.RawMessage, error) {
		method, path := http.MethodPost, map[string]string{
			"Navigate": "url", "ExecuteAsyncScript": "execute/async", "FindElement": "element", "SetTimeouts": "timeouts", "SetWindowRect": "window/rect", "TakeScreenshot": "screenshot",
			"ElementClick": "element/%s/click", "ElementSendKeys": "element/%s/value",
		}[command]
		if strings.Contains(path, "%s") {
			path = fmt.Sprintf(path, parameters.(map[string]any)["id"])
		}
		if command == "TakeScreenshot" {
			method = http.MethodGet
		}
		return ask(within, method, "/session/"+session.Value.SessionID+"/"+path, parameters)
	}
	b.do("SetTimeouts", map[string]any{"script": trains.Milliseconds()})
	b.tell()
	t.Log(session.Value.Capabilities.BrowserName, session.Value.Capabilities.BrowserVersion)
	return b
}
