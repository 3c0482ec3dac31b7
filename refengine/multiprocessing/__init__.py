"""Several processes with tensors in shared memory: the standard library's `multiprocessing`, and PyTorch's `spawn`.

Every name of the standard module is here. Tensors that pass through a queue, a pipe, a pool or the arguments of a
process are moved to shared memory once, and never copied. The memory has no name: when the last process that has it
ends, however it ends, the system frees it.

Examples
--------
>>> import refengine as re
>>> import refengine.multiprocessing as mp
>>> queue = mp.Queue()
>>> x = re.zeros(2)
>>> queue.put(x)
>>> y = queue.get()  # as another process would
>>> _ = y.add_(1)
>>> x.tolist(), x.is_shared()
([1.0, 1.0], True)
"""

from __future__ import annotations

from multiprocessing import Array as Array
from multiprocessing import AuthenticationError as AuthenticationError
from multiprocessing import Barrier as Barrier
from multiprocessing import BoundedSemaphore as BoundedSemaphore
from multiprocessing import BufferTooShort as BufferTooShort
from multiprocessing import Condition as Condition
from multiprocessing import Event as Event
from multiprocessing import JoinableQueue as JoinableQueue
from multiprocessing import Lock as Lock
from multiprocessing import Manager as Manager
from multiprocessing import ProcessError as ProcessError
from multiprocessing import RawArray as RawArray
from multiprocessing import RawValue as RawValue
from multiprocessing import RLock as RLock
from multiprocessing import Semaphore as Semaphore
from multiprocessing import TimeoutError as TimeoutError
from multiprocessing import Value as Value
from multiprocessing import active_children as active_children
from multiprocessing import allow_connection_pickling as allow_connection_pickling
from multiprocessing import cpu_count as cpu_count
from multiprocessing import current_process as current_process
from multiprocessing import freeze_support as freeze_support
from multiprocessing import get_all_start_methods as get_all_start_methods
from multiprocessing import get_logger as get_logger
from multiprocessing import get_start_method as get_start_method
from multiprocessing import log_to_stderr as log_to_stderr
from multiprocessing import parent_process as parent_process
from multiprocessing import set_executable as set_executable
from multiprocessing import set_forkserver_preload as set_forkserver_preload
from multiprocessing import set_start_method as set_start_method

from refengine.multiprocessing.connection import Connection as Connection
from refengine.multiprocessing.connection import Pipe as Pipe
from refengine.multiprocessing.context import Pool as Pool
from refengine.multiprocessing.context import get_context as get_context
from refengine.multiprocessing.errors import ParentGoneError as ParentGoneError
from refengine.multiprocessing.errors import ProcessException as ProcessException
from refengine.multiprocessing.errors import ProcessExitedException as ProcessExitedException
from refengine.multiprocessing.errors import ProcessRaisedException as ProcessRaisedException
from refengine.multiprocessing.pickling import SendError as SendError
from refengine.multiprocessing.pickling import register as register
from refengine.multiprocessing.process import Process as Process
from refengine.multiprocessing.queues import Queue as Queue
from refengine.multiprocessing.queues import SimpleQueue as SimpleQueue
from refengine.multiprocessing.spawning import ProcessContext as ProcessContext
from refengine.multiprocessing.spawning import SpawnContext as SpawnContext
from refengine.multiprocessing.spawning import spawn as spawn
from refengine.multiprocessing.spawning import start_processes as start_processes
from refengine.region import SharedMemoryError as SharedMemoryError
