package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"wgjepa/checkpoint"
	"wgjepa/gpu"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"wgjepa": main})
}

// golden is the folder of golden data, "" where there is none.
func golden() string {
	folder := os.Getenv("JEPA_TEST_GOLDEN")
	if folder == "" {
		folder = "../../../shared/golden"
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return ""
	}
	if _, err := os.Stat(folder); err != nil {
		return ""
	}
	return folder
}

// TestStories runs the command as a person would, on the cpu adapter with tiny
// models.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GOLDEN", golden())
			return os.WriteFile(filepath.Join(e.WorkDir, "tiny.toml"), []byte(tinyConfig), 0o644)
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "golden":
				return golden() != "", nil
			case "gpu":
				return gpu.Adapters()[0].Kind != gpu.Twins, nil
			}
			return false, fmt.Errorf("no condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitfor": waitFor, "killresume": killResume, "jsonlines": jsonLines, "sametensors": sameTensors, "setbyte": setByte, "exitcode": exitCode, "sleep": sleep, "fetch": fetch, "freeaddr": freeAddr, "lock": holdLock, "pictures": pictures,
		},
	})
}

// tinyConfig trains in milliseconds.
const tinyConfig = `
max_steps = 12
batch_size = 2
predictor_embed_dim = 12
predictor_depth = 1
warmup_epochs = 1.0
learning_rate = 1e-3
min_keep = 1
num_target_blocks = 2
[encoder]
patch_size = [4]
embed_dim = 12
depth = 1
num_heads = 2
[data]
val = 4
test = 6
[data.phantoms]
count = 22
size = 16
[probe]
resamples = 100
`

// waitFor FILE TEXT waits until a file holds a text.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	for range 1000 {
		if content, err := os.ReadFile(path); err == nil && strings.Contains(string(content), args[1]) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s never held %q", args[0], args[1])
}

// command is the path of the command under test.
func command(ts *testscript.TestScript) string {
	return filepath.Join(strings.Split(ts.Getenv("PATH"), string(os.PathListSeparator))[0], "wgjepa")
}

// holdLock FILE holds a lock to the end of the script, as another command would.
func holdLock(ts *testscript.TestScript, _ bool, args []string) {
	unlock, err := lock(ts.MkAbs(args[0]), args[0])
	ts.Check(err)
	ts.Defer(unlock)
}

// pictures DIR writes grey and coloured pictures by turns.
func pictures(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.Mkdir(ts.MkAbs(args[0]), 0o755))
	for i := range 20 {
		grey, coloured := image.NewGray(image.Rect(0, 0, 16, 16)), image.NewNRGBA(image.Rect(0, 0, 16, 16))
		for k := range 256 {
			grey.Pix[k] = uint8(k*(i+3) + k/16*i)
			copy(coloured.Pix[4*k:], []uint8{uint8(k * (i + 1)), uint8(k / 16 * (i + 5)), uint8(k + i), 255})
		}
		var m image.Image = grey
		if i%2 == 1 {
			m = coloured
		}
		ts.Check(writePNG(ts.MkAbs(filepath.Join(args[0], fmt.Sprintf("%02d.png", i))), m))
	}
}

// exitCode N wgjepa ARGS… runs the command and checks its exit code.
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command(command(ts), args[2:]...)
	cmd.Dir = ts.Getenv("WORK")
	said, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		ts.Fatalf("%v", err)
	}
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != args[0] {
		ts.Fatalf("exit code %s, want %s\n%s", got, args[0], said)
	}
}

// killResume OUT KILLS trains a run that exists to its end, ending the process
// with SIGKILL at random moments on the way.
func killResume(ts *testscript.TestScript, _ bool, args []string) {
	kills, err := strconv.Atoi(args[1])
	ts.Check(err)
	seed := uint64(time.Now().UnixNano())
	ts.Logf("seed %d", seed) // of the moments, which are not the same bits twice anyway
	r := rand.New(rand.NewPCG(seed, 0))
	program := command(ts)
	landed := 0
	for try := 0; ; try++ {
		cmd := exec.Command(program, "train", "--resume", "--out", args[0], "--adapter", "cpu", "--checkpoint-every", "2", "--quiet", "--pictures=false")
		cmd.Dir = ts.Getenv("WORK")
		var said strings.Builder
		cmd.Stderr = &said
		ts.Check(cmd.Start())
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		var moment <-chan time.Time
		if try < kills {
			moment = time.After(time.Duration(20+r.IntN(100*(try+1))) * time.Millisecond) // the first before a quick machine is done
		}
		select {
		case err := <-done:
			if err != nil {
				ts.Fatalf("the resumed run failed: %v\n%s", err, said.String())
			}
			ts.Logf("%d of %d kills landed", landed, try)
			if landed == 0 {
				ts.Fatalf("no kill landed: the run is too short to test anything")
			}
			return
		case <-moment:
			err := cmd.Process.Kill()
			<-done
			if errors.Is(err, os.ErrProcessDone) {
				continue // it was faster
			}
			ts.Check(err)
			landed++
		}
	}
}

// sleep N waits for milliseconds.
func sleep(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	time.Sleep(time.Duration(n) * time.Millisecond)
}

// jsonLines FILE COUNT checks that a file is JSON objects, at least COUNT, and
// nothing else.
func jsonLines(ts *testscript.TestScript, _ bool, args []string) {
	least, err := strconv.Atoi(args[1])
	ts.Check(err)
	n := 0
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			ts.Fatalf("%s is not JSON: %v", line, err)
		}
		n++
	}
	if n < least {
		ts.Fatalf("%d lines, want %d", n, least)
	}
}

// sameTensors A B checks that two files hold the same tensors, bit for bit.
func sameTensors(ts *testscript.TestScript, neg bool, args []string) {
	same, err := equalTensors(ts.MkAbs(args[0]), ts.MkAbs(args[1]))
	ts.Check(err)
	if same == neg {
		ts.Fatalf("%s and %s: same tensors is %v", args[0], args[1], same)
	}
}

func equalTensors(a, b string) (bool, error) {
	f, err := checkpoint.Open(a)
	if err != nil {
		return false, err
	}
	defer f.Close()
	g, err := checkpoint.Open(b)
	if err != nil {
		return false, err
	}
	defer g.Close()
	if len(f.Names()) == 0 || len(f.Names()) != len(g.Names()) {
		return false, nil
	}
	for _, name := range f.Names() {
		x, _, err := f.Float64s(name)
		if err != nil {
			return false, err
		}
		y, _, err := g.Float64s(name)
		if err != nil {
			return false, err
		}
		if len(x) != len(y) {
			return false, nil
		}
		for i := range x {
			if x[i] != y[i] {
				return false, nil
			}
		}
	}
	return true, nil
}

// setByte FILE OFFSET overwrites a byte from the end of a file: damage.
func setByte(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	content, err := os.ReadFile(path)
	ts.Check(err)
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	content[len(content)-at] ^= 0x40
	ts.Check(os.WriteFile(path, content, 0o644))
}
