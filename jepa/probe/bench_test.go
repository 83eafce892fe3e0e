package probe
import "testing"
func BenchmarkLoss(b *testing.B){
	x, y := blobs(20_000, 192, 6, 0.4, 2)
	s,_:=Standardize(x); f,_:=newFit(x,y,s)
	g:=make([]float64,len(f.theta))
	b.ResetTimer()
	for b.Loop() { f.loss(f.theta,g) }
}
