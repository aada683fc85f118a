import warnings; warnings.simplefilter('error')
import numpy as np, torch, time, bench
from bench import Array, canvas, Options
from ptycho_torch.engine import reconstruct
torch.set_num_threads(1)
def go(name,c,p,pr,opt=Options(),**k):
    t=time.process_time(); pos,O=canvas(np.asarray(p,float),c.shape[-1],4)
    r=reconstruct(Array(c),pos,pr,O,options=opt,**k)
    assert np.isfinite(r.object).all() and np.isfinite(r.probe).all() and np.isfinite(r.positions).all(), name
    print('%-22s %.2f s R %.4f %s %s %s'%(name,time.process_time()-t,r.history[-1]['misfit'] if r.history else np.nan,r.stopped_by,r.interrupted,r.notes),flush=True); return r
c,s,p,O=bench.simulate('leaves',N=32,n_side=4,dose=1e5); P=p[None]
go('tiny',c,s,P); go('one frame',c[:1],s[:1],P); go('zeros',c*0,s,P)
c0=c.copy(); c0[3]=0; go('one zero frame',c0,s,P)
go('far frame',c,np.concatenate([s[:-1],s[-1:]+60]),P)
m=np.ones((32,32),bool); m[10:14,3:9]=0; cm=np.where(m,c,60000).astype(np.uint16); go('mask',cm,s,P,mask=m)
go('positions one',c[:1],s[:1],P,Options(refine_positions=True)); go('positions',c,s+.3,P,Options(refine_positions=True))
for b in ('constant','pixel'): r=go('background '+b,c+5,s,P,Options(background=b)); print(r.background.mean())
go('2 modes held',c,s,bench.add_probe_modes(P,2,0),Options(held_out=.2)); go('epochs 0',c,s,P,Options(epochs=0)); go('iterations 0',c,s,P,Options(iterations=0)); go('both 0',c,s,P,Options(epochs=0,iterations=0))
go('probe fixed',c,s,P,Options(refine_probe=False)); go('zero probe',c,s,P*0)
go('tv',c,s,P,Options(total_variation=1.)); go('poisson',c,s,P,Options(likelihood='poisson'))
a=go('f64',c,s,P,dtype=torch.float64); b=go('f64 again',c,s,P,dtype=torch.float64); assert (a.object==b.object).all()
c,s,p,O=bench.simulate('leaves',N=64,n_side=7,dose=1e4,fraction=True); P=p[None]
a=go('cached',c,s,P); b=go('read again',c,s,P,Options(memory_gib=0)); print(abs(a.object-b.object).max())
n=[0]
for lim in (1,5,12,60,100):
    n[0]=0
    def stop(): n[0]+=1; return n[0]>lim
    go('stop %d'%lim,c,s,P,stop_requested=stop)
