//go:build !js

package www

import (
	"encoding/csv"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// aged writes pictures of a disc whose radius tells an age, and a table of them: each
// of two scans of a person, whose ages are alike.
func aged(t testing.TB, folder string, people int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 1))
	require.NoError(t, os.MkdirAll(folder, 0o755))
	table := "image;age [years];sex;subject\n"
	for i := range 2 * people {
		if i%2 == 0 {
			random = rand.New(rand.NewPCG(1, uint64(i)))
		}
		age := 20 + random.Float64()*60
		m := image.NewGray(image.Rect(0, 0, 32, 32))
		for y := range 32 {
			for x := range 32 {
				v := 30 + 40*random.Float64()
				if dx, dy := float64(x)-15.5, float64(y)-15.5; dx*dx+dy*dy < age*age/30 {
					v += 150
				}
				m.SetGray(x, y, color.Gray{uint8(v)})
			}
		}
		name := fmt.Sprintf("scan_%03d.png", i)
		f, err := os.Create(filepath.Join(folder, name))
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, m))
		require.NoError(t, f.Close())
		table += fmt.Sprintf("%s;%.1f;%s;p%d\n", name, age, []string{"f", "m"}[i/2%2], i/2)
	}
	write(t, folder, "people.csv", []byte(table))
}

// pick chooses an option of a select as a person does.
func (b *tab) pick(id, value string) {
	b.t.Helper()
	require.True(b.t, eval[bool](b, waits, fmt.Sprintf(`(() => {
		const s = document.getElementById(%s);
		s.value = %s;
		s.dispatchEvent(new Event("change", { bubbles: true }));
		return s.value === %[2]s && !s.disabled && s.checkVisibility(); })()`, quote(id), quote(value))), "%s has no %q to choose", id, value)
}

// ready waits until the data are open with what was chosen last.
func (b *tab) ready() {
	b.t.Helper()
	b.until(waits, `document.getElementById("status").textContent.endsWith("ready.") && document.getElementById("fit").textContent !== ""`)
}

// TestNumbers is the story of labels that are numbers: the column is chosen, the unit
// is shown, the probe asks for the number, and finetuning learns it and gives its
// predictions as the command does.
func TestNumbers(t *testing.T) {
	long(t)
	folder := filepath.Join(t.TempDir(), "pictures")
	aged(t, folder, 60)
	b, s := page(t)

	// A table of something else does not stop the scans.
	other := filepath.Join(t.TempDir(), "other")
	aged(t, other, 4)
	require.NoError(t, os.Remove(filepath.Join(other, "people.csv")))
	write(t, other, "visits.csv", []byte("day,cost\n1,2\n"))
	b.drop(other)
	b.ready()
	b.says("messages", "visits.csv does not label these data: ")
	b.pick("labels-choice", "/data/other/visits.csv")
	require.Contains(t, b.says("labels-error", "its columns are"), "day, cost")

	b.drop(folder)
	b.ready()
	// No column says that it holds the labels.
	b.says("label-column-says", "choose the one that holds the labels")
	require.NotContains(t, b.text("data-list"), "years")
	b.until(waits, `document.getElementById("label-column").options.length === 5`)
	b.pick("label-column", "sex")
	b.ready()
	require.Contains(t, b.says("data-summary", "2 classes"), "120 samples")
	b.pick("label-column", "age [years]")
	b.ready()
	require.Regexp(t, `age \[years\]: 2\d\.\d to 7\d\.\d\n`, b.says("data-summary", "years"))
	require.Equal(t, "years", eval[string](b, waits, `document.getElementById("label-unit").value`))
	require.Contains(t, b.text("data-list"), "age [years]")
	b.configure(strings.NewReplacer("patch_size = [6]", "patch_size = [4]", "max_epochs = 4", "max_epochs = 6", "batch_size = 4", "batch_size = 8").Replace(model) + "[data]\nval = 24\ntest = 36\n[finetune]\nbatch_size = 8\nlearning_rate = 2e-3\n")
	require.Contains(t, b.text("data-summary"), "years", "the choice of labels lies over the settings")

	b.click("train")
	b.until(trains, `document.documentElement.dataset.state === "done"`)
	b.probed()
	probe := b.text("probe-table")
	for _, text := range []string{"Which number is a sample’s age [years]?", "R²", "mean absolute error, years", "training samples' mean"} {
		require.Contains(t, probe, text)
	}

	require.Contains(t, b.text("finetune-goal"), "the number age [years]")
	eval[chromedp.Void](b, waits, `void (document.getElementById("finetune-epochs").value = "4")`)
	b.click("finetune-start")
	b.until(trains, `document.querySelectorAll("#finetune-table tbody tr").length > 0`)
	require.Regexp(t, `After \d+ steps, finetuned is .+: R² −?\d.*, frozen −?\d.*, untrained −?\d.*A prediction is off by \d+\.\d+ \(years\) on average\.`, b.text("finetune-says"))
	table := eval[[][]string](b, waits, `[...document.querySelectorAll("#finetune-table tr")].map((r) => [...r.cells].map((c) => c.innerText.trim()))`)
	require.Equal(t, []string{"", "Finetuned", "Frozen probe", "Finetuned − frozen", "Untrained probe"}, table[0])
	require.Equal(t, []string{"R²", "mean absolute error, years"}, []string{table[1][0], table[2][0]})
	for _, row := range table[1:] {
		for _, cell := range row[1:] {
			require.Regexp(t, `^[+−]?\d+\.\d+\*?\s*\([+−]?\d+\.\d+ to [+−]?\d+\.\d+\)$`, cell)
		}
	}

	// The files are the command's, and it applies them.
	dir := t.TempDir()
	predictions := b.download("download-predictions")
	rows, err := csv.NewReader(strings.NewReader(string(predictions))).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"name", "split", "label", "predicted"}, rows[0])
	require.Len(t, rows, 121)
	weights := write(t, dir, "weights.safetensors", b.download("download-finetuned"))
	out := filepath.Join(dir, "labels.csv")
	native(t, "label", weights, folder, "--out", out, "--set", "data.label_column=sex")
	content, err := os.ReadFile(out)
	require.NoError(t, err)
	applied, err := csv.NewReader(strings.NewReader(string(content))).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"name", "predicted"}, applied[0])
	of := map[string]string{}
	for _, row := range applied[1:] {
		of[row[0]] = row[1]
	}
	for _, row := range rows[1:] {
		in, err := strconv.ParseFloat(row[3], 64)
		require.NoError(t, err)
		natively, err := strconv.ParseFloat(of[row[0]], 64)
		require.NoError(t, err, row[0])
		require.InDelta(t, in, natively, 0.05, "%s: in the page and natively", row[0])
	}
	require.Empty(t, elsewhere(s.asked()))
	b.quiet()
}
