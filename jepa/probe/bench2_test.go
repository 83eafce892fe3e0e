package probe
import ("testing";"fmt";"time")
func TestReal(t *testing.T){ x,y:=loadFeat(); s,_:=Standardize(x); f,_:=newFit(x,y,s); for _,c:=range []float64{0.01,0.1,1,10}{ st:=time.Now(); m,err:=f.run(c); fmt.Println(c,err,m.Iterations,time.Since(st))} }
