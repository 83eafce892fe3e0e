package weights

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

func inspectONNX(b []byte) (*ONNXReport, error) {
	return InspectONNX(bytes.NewReader(b), int64(len(b)))
}

// An exported encoder is what its configuration says; no cut of it is taken for whole.
func TestInspectONNX(t *testing.T) {
	for _, c := range []Config{flat, deep} {
		w := sample(c)
		var b bytes.Buffer
		require.NoError(t, w.WriteONNX(&b))
		r, err := inspectONNX(b.Bytes())
		require.NoError(t, err)
		require.EqualValues(t, onnxIR, r.IR)
		require.Equal(t, []string{"ai.onnx 17"}, r.Opsets)
		require.Equal(t, "wgjepa", r.Producer)
		require.Equal(t, "encoder", r.Graph)
		require.Len(t, r.Inputs, 1)
		require.Equal(t, "x", r.Inputs[0].Name)
		require.Equal(t, "float32", r.Inputs[0].Type)
		require.Equal(t, "batch", r.Inputs[0].Shape[0])
		require.Len(t, r.Inputs[0].Shape, 2+c.Dim())
		require.Equal(t, []string{"features", "embedding"}, []string{r.Outputs[0].Name, r.Outputs[1].Name})
		require.Equal(t, 1, r.Operations["Conv"])
		require.Equal(t, c.Depth, r.Operations["Softmax"])
		numbers := int64(0)
		for _, x := range w.Encoder {
			numbers += int64(len(x.Data))
		}
		require.GreaterOrEqual(t, r.Numbers, numbers)
		require.Less(t, r.Numbers, numbers+200)
		text := r.String()
		require.Contains(t, text, "input        x: float32 (batch, ")
		require.Contains(t, text, "Conv 1")
		for n := 0; n < b.Len(); n += 1 + n/16 {
			_, err := inspectONNX(b.Bytes()[:n])
			require.Error(t, err, n)
		}
	}
}

// What a file says of its lengths is held against its own.
func TestInspectONNXRefuses(t *testing.T) {
	model := func(graph []byte) []byte { return appendMessage(appendInt(nil, 1, 8), 7, graph) }
	long := protowire.AppendTag(appendInt(nil, 1, 8), 7, protowire.BytesType)
	for name, b := range map[string][]byte{
		"empty":     {},
		"no graph":  appendInt(nil, 1, 8),
		"two":       append(model(nil), model(nil)...),
		"too long":  protowire.AppendVarint(long, 1<<62),
		"group":     protowire.AppendTag(appendInt(nil, 1, 8), 7, protowire.StartGroupType),
		"text":      []byte("\x08nothing of the kind"),
		"many axes": model(appendMessage(nil, 5, appendMessage(nil, 1, bytes.Repeat([]byte{1}, 100)))),
	} {
		_, err := inspectONNX(b)
		require.Error(t, err, name)
	}
	r, err := inspectONNX(model(appendMessage(nil, 5, appendMessage(nil, 1, []byte{3, 4}))))
	require.NoError(t, err)
	require.EqualValues(t, 12, r.Numbers)
}

// FuzzONNX: any bytes are a model or an error.
func FuzzONNX(f *testing.F) {
	for _, c := range []Config{flat, deep} {
		var b bytes.Buffer
		if err := sample(c).WriteONNX(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		if r, err := inspectONNX(b); err == nil {
			_ = r.String()
		}
	})
}
